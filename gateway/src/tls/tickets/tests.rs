//! Do tickets open where they should, and nowhere and never else?

use super::*;

const SESSION: &[u8] = b"what a session is";

fn fresh() -> Tickets {
    Tickets::with(Vec::new(), None).unwrap()
}

fn names(tickets: &Tickets) -> Vec<[u8; NAME]> {
    let keys = tickets.keys.read().unwrap();
    keys.iter().map(|ready| ready.key.name).collect()
}

#[test]
fn a_ticket_opens_where_its_key_is_and_nowhere_else() {
    let (ours, others) = (fresh(), fresh());
    let ticket = ours.encrypt(SESSION).unwrap();
    assert_eq!(ours.decrypt(&ticket).unwrap(), SESSION);
    assert_eq!(others.decrypt(&ticket), None);
    let heir = Tickets::with(ours.keys(), None).unwrap();
    assert_eq!(heir.decrypt(&ticket).unwrap(), SESSION);
    assert_eq!(ours.decrypt(&heir.encrypt(b"x").unwrap()).unwrap(), b"x");
    assert_ne!(ours.encrypt(SESSION), ours.encrypt(SESSION));
}

#[test]
fn a_ticket_with_another_byte_is_none() {
    let tickets = fresh();
    let ticket = tickets.encrypt(SESSION).unwrap();
    for at in 0..ticket.len() {
        let mut bad = ticket.clone();
        bad[at] ^= 1;
        assert_eq!(tickets.decrypt(&bad), None, "{at}");
        assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at}");
    }
    assert_eq!(tickets.decrypt(&vec![0; TICKET_MAX + 1]), None);
}

#[test]
fn no_ticket_is_made_that_would_not_be_opened() {
    let tickets = fresh();
    let most = TICKET_MAX - NAME - NONCE_LEN - PROVEN - TAG;
    let ticket = tickets.encrypt(&vec![7; most]).unwrap();
    assert_eq!(ticket.len(), TICKET_MAX);
    assert_eq!(tickets.decrypt(&ticket).unwrap().len(), most);
    assert_eq!(tickets.encrypt(&vec![7; most + 1]), None);
}

#[test]
fn keys_make_tickets_for_six_hours_and_are_believed_for_twelve() {
    let tickets = fresh();
    let now = unix_now();
    let seal = |at| tickets.seal_at(SESSION, at, at).unwrap();
    let (old, new) = (seal(now), seal(now + MAKES));
    assert_ne!(old[..NAME], new[..NAME]);
    assert!(tickets.open_at(&old, now + BELIEVED - 1).is_some());
    assert!(tickets.open_at(&old, now + BELIEVED).is_none());
    seal(now + 2 * MAKES);
    assert_eq!(names(&tickets).len(), 2);
    assert!(!format!("{tickets:?} {:?}", tickets.keys()).contains('1'));
}

#[test]
fn keys_that_are_not_believed_any_more_are_given_up_where_nobody_comes() {
    let tickets = fresh();
    let now = unix_now();
    tickets.tidy_at(now + BELIEVED - 10);
    assert_eq!(names(&tickets).len(), 1);
    tickets.tidy_at(now + BELIEVED);
    assert!(names(&tickets).is_empty() && tickets.keys().is_empty());
    let later = now + BELIEVED;
    let ticket = tickets.seal_at(SESSION, later, later).unwrap();
    assert!(tickets.open_at(&ticket, later).is_some());
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_a_key_for_longer() {
    let tickets = fresh();
    let now = unix_now();
    let before = tickets.seal_at(SESSION, now, now).unwrap();
    // A little is nothing.
    let back = now - AHEAD_MAX + 10;
    assert!(tickets.open_at(&before, back).is_some());
    assert_eq!(
        tickets.seal_at(SESSION, back, back).unwrap()[..NAME],
        before[..NAME]
    );
    // The machine had started in another year.
    let back = now - 40_000_000;
    assert!(tickets.open_at(&before, back).is_none());
    let after = tickets.seal_at(SESSION, back, back).unwrap();
    assert_ne!(after[..NAME], before[..NAME]);
    assert!(tickets.open_at(&after, back + 1).is_some());
    assert_eq!(names(&tickets).len(), 1, "the one of the future is gone");
    // A successor is given none that it would not believe.
    assert!(
        Tickets::with(tickets.keys(), None)
            .unwrap()
            .open_at(&after, now)
            .is_none()
    );
}

#[test]
fn a_clock_that_jumps_about_does_not_pile_up_keys() {
    let tickets = fresh();
    let now = unix_now();
    for jump in 0..100 {
        let at = now - jump * (AHEAD_MAX + 1);
        tickets.seal_at(SESSION, at, at).unwrap();
    }
    assert!(names(&tickets).len() <= KEYS_MAX);
}

#[test]
fn a_key_that_has_sealed_enough_makes_way() {
    let tickets = fresh();
    let now = unix_now();
    let first = tickets.seal_at(SESSION, now, now).unwrap();
    tickets.keys.read().unwrap()[0]
        .sealed
        .store(SEALED_MAX, Ordering::Relaxed);
    let next = tickets.seal_at(SESSION, now, now).unwrap();
    assert_ne!(first[..NAME], next[..NAME]);
    assert!(
        tickets.open_at(&first, now).is_some(),
        "it is still believed"
    );
}

#[test]
fn a_session_ends_twelve_hours_after_its_client_has_proven_who_it_is() {
    let tickets = Arc::new(fresh());
    let now = unix_now();
    let mut ticket = OneClient::new(tickets.clone())
        .seal_at(SESSION, now)
        .unwrap();
    // It comes back every hour, and gets a new ticket each time.
    for hour in 1..12 {
        let at = now + hour * 3600;
        let connection = OneClient::new(tickets.clone());
        assert_eq!(connection.open_at(&ticket, at).unwrap(), SESSION, "{hour}");
        ticket = connection.seal_at(SESSION, at).unwrap();
    }
    let at = now + BELIEVED;
    let connection = OneClient::new(tickets.clone());
    assert_eq!(connection.open_at(&ticket, at), None);
    // It has to prove it again, and may resume from there.
    let ticket = connection.seal_at(SESSION, at).unwrap();
    let later = OneClient::new(tickets.clone()).open_at(&ticket, at + 11 * 3600);
    assert!(later.is_some());
}

#[test]
fn of_several_tickets_the_oldest_proof_counts() {
    let tickets = Arc::new(fresh());
    let now = unix_now();
    let old = OneClient::new(tickets.clone())
        .seal_at(SESSION, now)
        .unwrap();
    let new = OneClient::new(tickets.clone())
        .seal_at(SESSION, now + 3600)
        .unwrap();
    let connection = OneClient::new(tickets.clone());
    for ticket in [&old, &new] {
        assert!(connection.open_at(ticket, now + 3600).is_some());
    }
    let ticket = connection.seal_at(SESSION, now + 3600).unwrap();
    assert!(tickets.open_at(&ticket, now + BELIEVED).is_none());
}

#[test]
fn no_ticket_is_believed_once_what_is_known_of_clients_has_run_out() {
    let now = unix_now();
    let tickets = Tickets::with(Vec::new(), Some(now + 60)).unwrap();
    let ticket = tickets.seal_at(SESSION, now, now).unwrap();
    assert!(tickets.open_at(&ticket, now + 59).is_some());
    assert!(tickets.open_at(&ticket, now + 60).is_none());
}

#[test]
fn keys_go_to_another_process_and_come_back_whole() {
    let tickets = fresh();
    let ticket = tickets.encrypt(SESSION).unwrap();
    let text = serde_json::to_vec(&tickets.keys()).unwrap();
    let heir = Tickets::with(serde_json::from_slice(&text).unwrap(), None).unwrap();
    assert_eq!(heir.decrypt(&ticket).unwrap(), SESSION);
}
