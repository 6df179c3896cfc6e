//! What does a stranger cost the API? Neither its places nor its memory.

use e2e::{House, Raw, eventually};
use serde_json::Value;

fn error(reply: &e2e::Message) -> String {
    let told: Value = serde_json::from_slice(&reply.body).expect("JSON");
    told["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn whoever_trickles_takes_nobodys_place() {
    let house = House::with(&[("API__REQUESTS_MAX", "1")]).await;
    let api = &house.services[3];
    let mut slow = Vec::new();
    for path in ["/api/", "/api/", "/api/login", "/api/v2/login/access-key"] {
        slow.push(api.begin(path, 60_000, b"{").await);
    }
    let rest = house.rest().await;
    assert_eq!(rest.get("/person").await.0, 200);
    // They are answered when they are there.
    let mut first = slow.swap_remove(0);
    first.send(vec![b'x'; 59_999]).await;
    assert_eq!(first.reply().await.status(), 400);
}

#[tokio::test]
async fn whoever_trickles_is_told_that_it_is_late() {
    let settings = [
        ("API__BODY_TIMEOUT", "100ms"),
        ("API__BODY_RATE", "1000000000"),
    ];
    let house = House::with(&settings).await;
    let mut raw = Raw::tcp(house.services[3].port()).await;
    raw.send("POST /api/ HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\naction=")
        .await;
    let reply = raw.reply().await;
    assert_eq!((reply.status(), error(&reply).as_str()), (408, "TooSlow"));
}

#[tokio::test]
async fn large_calls_that_fill_the_memory_leave_room_for_small_ones() {
    let settings = [
        ("API__BODY_BYTES_MAX", "1048576"),
        ("API__MEMORY_BYTES_MAX", "1048576"),
    ];
    let house = House::with(&settings).await;
    let api = &house.services[3];
    let (whole, part) = (vec![b'x'; 1 << 20], vec![b'x'; (1 << 20) - 1]);
    let waiting = [
        api.begin("/api/", whole.len(), &part).await,
        api.begin("/api/", whole.len(), &part).await,
    ];
    let ask = || async {
        let reply = Raw::tcp(api.port())
            .await
            .ask("POST", "/api/", &[], &whole)
            .await;
        (reply.status(), error(&reply))
    };
    eventually("there is no room for another", || async {
        (ask().await == (503, "ServiceUnavailable".to_owned())).then_some(())
    })
    .await;
    let rest = house.rest().await;
    assert_eq!(rest.get("/person").await.0, 200);
    drop(waiting);
    eventually("there is room again", || async {
        (ask().await.0 == 400).then_some(())
    })
    .await;
}
