//! What stands between a service and its database? A relay of bytes that can lose the answer to a commit: it is
//! stored, and whoever asked for it hears nothing but that the connection is gone.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::stack::Database;

/// How a client of PostgreSQL ends a transaction.
const COMMIT: &[u8] = b"COMMIT\0";

/// A relay; ends when dropped.
pub struct Relay {
    url: String,
    armed: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Relay {
    /// In front of a database.
    pub async fn before(database: &Database) -> Relay {
        let (who, rest) = database.url().rsplit_once('@').expect("an address");
        let (server, name) = rest.split_once('/').expect("with a database");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port is free");
        let here = listener.local_addr().expect("it is bound");
        let armed = Arc::new(AtomicBool::new(false));
        let serving = serve(listener, server.to_owned(), Arc::clone(&armed));
        Relay {
            url: format!("{who}@{here}/{name}"),
            armed,
            task: tokio::spawn(serving),
        }
    }

    /// How to connect through it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The answer to the next commit gets lost, and its connection ends.
    pub fn lose_next_commit(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Has an answer been lost since?
    pub fn has_lost(&self) -> bool {
        !self.armed.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, server: String, armed: Arc<AtomicBool>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, armed) = (server.clone(), Arc::clone(&armed));
        tokio::spawn(async move {
            if let Ok(server) = TcpStream::connect(server).await {
                // A connection that broke is over.
                let _ = carry(client, server, &armed).await;
            }
        });
    }
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    armed: &AtomicBool,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (mut asked, mut told) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            count = from_client.read(&mut asked) => {
                let asked = &asked[..count?];
                if asked.is_empty() {
                    return Ok(());
                }
                let commits = asked.windows(COMMIT.len()).any(|part| part == COMMIT);
                let lost = commits && armed.load(Ordering::SeqCst);
                to_server.write_all(asked).await?;
                if lost {
                    // It is stored when the server says so.
                    if from_server.read(&mut told).await? > 0 {
                        armed.store(false, Ordering::SeqCst);
                    }
                    return Ok(());
                }
            }
            count = from_server.read(&mut told) => {
                let told = &told[..count?];
                if told.is_empty() {
                    return Ok(());
                }
                to_client.write_all(told).await?;
            }
        }
    }
}
