//! Do the published clients hear what they need, byte for byte? What stands here was said by `landscape-client`
//! 26.08~beta.4 from its public repository, and what it takes was tried with it.

use e2e::{Gateway, House};

/// A POST as libcurl writes it for the agent: fields of its own first, then the agent's, sorted. The body of the answer.
async fn post(gateway: &Gateway, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let port = gateway.port("https");
    let mut head = format!(
        "POST /message-system HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: */*\r\n\
         Accept-Encoding: gzip,deflate\r\nContent-Type: application/octet-stream\r\n\
         User-Agent: landscape-client/26.08~beta.4-0landscape0\r\n"
    );
    for field in fields {
        head.push_str(&format!("{field}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut raw = gateway.https().await;
    raw.send([head.as_bytes(), body].concat()).await;
    let reply = raw.final_reply_to("POST").await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(
        reply.field("content-type"),
        Some("application/octet-stream")
    );
    reply.body.clone()
}

fn server(house: &House) -> String {
    house.database.sql("select uuid from server_identity")
}

#[tokio::test]
async fn the_first_words_of_an_agent_are_answered_with_what_it_may_say_next() {
    let house = House::start().await;
    let digest = b"\xd4\x1d\x8c\xd9\x8f\x00\xb2\x04\xe9\x80\x09\x98\xec\xf8\x42\x7e";
    let body = [
        b"du14:accepted-typess16:",
        &digest[..],
        b"u21:client-accepted-typesl\
          u14:accepted-typesu12:registrationu13:resynchronizeu6:set-idu13:set-intervalsu10:unknown-id;\
          u10:client-apis3:3.8u8:messagesl;u22:next-expected-sequencei0;u8:sequencei0;\
          u10:server-apis3:3.2u14:total-messagesi0;;",
    ]
    .concat();
    assert_eq!(body.len(), 275);
    let answer = post(&house.gateway, &["X-Message-API: 3.2"], &body).await;
    let want = format!(
        "du8:messagesldu4:typeu14:accepted-typesu5:typeslu8:register;;;u10:server-apis3:3.3u11:server-uuids36:{};",
        server(&house)
    );
    assert_eq!(answer.escape_ascii().to_string(), want);
}

#[tokio::test]
async fn an_agent_is_told_its_identity_in_bytes_and_fetches_attachments_with_it() {
    let house = House::start().await;
    let gateway = &house.gateway;
    // `landscape-config`: no numbers, names with underscores.
    let body =
        b"du8:messagesldu12:access_groupu0:u12:account_nameu10:standaloneu14:computer_titleu2:z2\
        u14:container_infou0:u8:hostnameu2:vmu10:machine_idu36:5923867a-0000-5000-8000-000000000000\
        u4:typeu8:registeru15:ubuntu_pro_infou2:{}u7:vm_infos0:;;;";
    let answer = post(gateway, &["X-Message-API: 3.3"], body).await;
    let ids = house
        .database
        .sql("select secure_id, insecure_id from computer");
    let (secure, insecure) = ids.split_once('|').expect("both");
    // Text in place of bytes is taken by all of it but for the part that fetches attachments.
    let want = format!(
        "du8:messagesldu2:ids36:{secure}u11:insecure-idi{insecure};u4:typeu6:set-id;;\
         u10:server-apis3:3.3u11:server-uuids36:{};",
        server(&house)
    );
    assert_eq!(answer.escape_ascii().to_string(), want);

    house.database.sql(
        "update computer set accepted = true, accepted_at = now(); \
         insert into attachment (name, content) values ('note.txt', 'it came along'); \
         insert into activity (computer_id, type, summary, fields) \
             select id, 'execute-script', 'x', 'd;' from computer; \
         insert into activity_attachment select activity.id, attachment.id from activity, attachment",
    );
    let number = house.database.sql("select id from attachment");
    let request = format!(
        "GET /attachment/{number} HTTP/1.1\r\nHost: localhost:{}\r\nAccept: */*\r\n\
         Accept-Encoding: gzip,deflate\r\nContent-Type: application/octet-stream\r\n\
         User-Agent: landscape-client/26.08~beta.4-0landscape0\r\nX-Computer-ID: {secure}\r\n\r\n",
        gateway.port("https")
    );
    let mut raw = gateway.https().await;
    raw.send(request).await;
    let reply = raw.reply().await;
    assert_eq!(
        (reply.status(), reply.text().as_str()),
        (200, "it came along")
    );
}
