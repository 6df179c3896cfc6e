//! How does a whole fleet behave? Agents that register, ping, exchange, report and obey, through the edge.
//!
//! Each agent is a task: it registers, then pings and exchanges at its pace, reports interfaces that
//! change, and does what it is ordered. After the time it goes on until all that it said is
//! acknowledged, within bounds. Then the database is asked whether it holds just that ([`check`]).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::agent::Agent;
use self::http::Target;
use self::told::{Outcome, Told};
use crate::scenario::Protocol;

mod agent;
mod check;
mod http;
mod pickle;
mod told;

/// Pause after a request that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest time between a ping that says yes and the exchange that follows.
const URGENT: Duration = Duration::from_secs(1);

/// What kind of fleet.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where agents exchange messages: address and port of the HTTPS listener
    #[arg(long, default_value = "127.0.0.1:443")]
    target: SocketAddr,
    /// Where agents ping: address and port of the HTTP listener; by default over HTTPS, too
    #[arg(long)]
    http: Option<SocketAddr>,
    /// The name that is asked for
    #[arg(long, default_value = "localhost")]
    host: String,
    /// How many
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// How long, seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How long they may take to finish afterwards, seconds
    #[arg(long, default_value_t = 60)]
    settle: u64,
    /// Time between two pings of an agent, milliseconds
    #[arg(long, default_value_t = 2000)]
    ping_ms: u64,
    /// Time between two exchanges of an agent, milliseconds
    #[arg(long, default_value_t = 3000)]
    exchange_ms: u64,
    /// Share of exchanges in which interfaces have changed
    #[arg(long, default_value_t = 0.5)]
    change: f64,
    /// Longest request, seconds
    #[arg(long, default_value_t = 35)]
    timeout: u64,
    /// The account that they register with
    #[arg(long, default_value = "standalone")]
    account: String,
    /// The registration key of the account; without it they wait to be accepted
    #[arg(long)]
    key: Option<String>,
    /// The database behind it: what was acknowledged is looked for there in the end
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Orders per second, given in the database
    #[arg(long, default_value_t = 0.0, requires = "database")]
    orders: f64,
    /// Figures as JSON, and no progress
    #[arg(long)]
    pub json: bool,
}

struct Fleet {
    options: Options,
    exchanges: Target,
    pings: Target,
    told: RefCell<Told>,
    /// Identities of those that are registered.
    known: RefCell<Vec<String>>,
    end: Instant,
    settled: Instant,
}

/// Runs a fleet. Needs a `LocalSet`.
///
/// # Errors
///
/// A database that is not there, or settings that contradict each other.
pub async fn run(options: Options) -> anyhow::Result<Outcome> {
    ensure!(options.clients > 0, "a fleet has clients");
    ensure!(
        (0.0..=1.0).contains(&options.change),
        "--change is a share from 0 to 1"
    );
    ensure!(
        (0.0..=10_000.0).contains(&options.orders),
        "--orders is a rate up to 10000"
    );
    let began = Instant::now();
    let run = format!("fleet{:08x}", fastrand::u32(..));
    let fleet = Rc::new(Fleet::new(options)?);
    let database = match &fleet.options.database {
        Some(url) => Some(check::connect(url).await?),
        None => None,
    };
    let mut agents = JoinSet::new();
    for number in 0..fleet.options.clients {
        let (fleet, agent) = (Rc::clone(&fleet), Agent::new(&run, number));
        agents.spawn_local(async move { fleet.live(agent).await });
    }
    let mut others: JoinSet<()> = JoinSet::new();
    if !fleet.options.json {
        let fleet = Rc::clone(&fleet);
        others.spawn_local(async move { fleet.tell(began).await });
    }
    if fleet.options.orders > 0.0 {
        let fleet = Rc::clone(&fleet);
        others.spawn_local(async move { fleet.order().await });
    }
    let mut done = Vec::new();
    while let Some(agent) = agents.join_next().await {
        done.push(agent.context("a client")?);
    }
    others.shutdown().await;
    let converged = done.iter().filter(|agent| agent.is_done()).count();
    let compared = match database {
        // The connection may not have outlived what was done to the database meanwhile.
        Some(client) if !client.is_closed() => Some(check::compare(&client, &run, &done).await?),
        Some(_) => {
            let url = fleet.options.database.as_deref().unwrap_or_default();
            Some(check::compare(&check::connect(url).await?, &run, &done).await?)
        }
        None => None,
    };
    let told = fleet.told.borrow();
    let (compared, problems) = compared.unzip();
    let problems = problems.unwrap_or_default();
    Ok(Outcome {
        clients: fleet.options.clients,
        registered: told.registered,
        seconds: began.elapsed().as_secs_f64(),
        requests: told.kinds(),
        messages_acknowledged: told.acknowledged,
        orders_given: told.ordered,
        orders_done: told.results,
        converged,
        compared,
        problems: problems.first,
        problems_total: problems.total,
    })
}

impl Fleet {
    fn new(options: Options) -> anyhow::Result<Fleet> {
        let exchanges = Target {
            address: options.target,
            host: options.host.clone(),
            tls: Some(crate::tls::client(Protocol::Http1, true)?),
            timeout: Duration::from_secs(options.timeout),
        };
        let pings = match options.http {
            None => exchanges.clone(),
            Some(address) => Target {
                address,
                tls: None,
                ..exchanges.clone()
            },
        };
        let end = Instant::now() + Duration::from_secs(options.seconds);
        Ok(Fleet {
            settled: end + Duration::from_secs(options.settle),
            end,
            exchanges,
            pings,
            told: RefCell::new(Told::new()),
            known: RefCell::default(),
            options,
        })
    }

    /// The life of one agent.
    async fn live(&self, mut agent: Agent) -> Agent {
        let pace = Duration::from_millis(self.options.exchange_ms);
        // Not all at once.
        sleep(pace.mul_f64(fastrand::f64())).await;
        if !self.register(&mut agent).await {
            return agent;
        }
        let mut ping_at = Instant::now();
        let mut exchange_at = Instant::now();
        while Instant::now() < self.end && !agent.lost {
            let next = ping_at.min(exchange_at).min(self.end);
            sleep(next.saturating_duration_since(Instant::now())).await;
            let now = Instant::now();
            if now >= ping_at {
                ping_at = now + Duration::from_millis(self.options.ping_ms);
                if self.ping(&agent).await {
                    exchange_at = exchange_at.min(now + URGENT.mul_f64(fastrand::f64()));
                }
            }
            if now >= exchange_at {
                exchange_at = now + pace.mul_f64(0.75 + fastrand::f64() / 2.0);
                if fastrand::f64() < self.options.change {
                    agent.report(seconds(), fastrand::bool());
                }
                if self.exchange(&mut agent).await.is_none() {
                    exchange_at = Instant::now() + PAUSE;
                }
            }
        }
        self.settle(agent).await
    }

    async fn register(&self, agent: &mut Agent) -> bool {
        let (account, key) = (&self.options.account, self.options.key.as_deref());
        while Instant::now() < self.end {
            let (began, body) = (Instant::now(), agent.registration(account, key));
            let fields = "X-Message-API: 3.3\r\n";
            let answer = self.exchanges.post("/message-system", fields, &body).await;
            let done = answer.and_then(|answer| agent.registered(&answer).map_err(str::to_owned));
            let failure = done.as_ref().err().map(String::as_str);
            self.told
                .borrow_mut()
                .ended("register", began.elapsed(), failure);
            if let (Ok(()), Some(secure)) = (done, &agent.secure) {
                self.told.borrow_mut().registered += 1;
                self.known.borrow_mut().push(secure.clone());
                return true;
            }
            sleep(PAUSE).await;
        }
        false
    }

    async fn ping(&self, agent: &Agent) -> bool {
        let Some(insecure) = agent.insecure else {
            return false;
        };
        let began = Instant::now();
        let body = format!("insecure_id={insecure}");
        let fields = "Content-Type: application/x-www-form-urlencoded\r\n";
        let answer = self.pings.post("/ping", fields, body.as_bytes()).await;
        let failure = answer.as_ref().err().map(String::as_str);
        self.told
            .borrow_mut()
            .ended("ping", began.elapsed(), failure);
        answer.is_ok_and(|answer| answer == b"du8:messagesb1;" || answer == b"ds8:messagesb1;")
    }

    /// One exchange: how many messages came. None where it failed.
    async fn exchange(&self, agent: &mut Agent) -> Option<usize> {
        let began = Instant::now();
        let (fields, body) = agent.exchange();
        let answer = self.exchanges.post("/message-system", &fields, &body).await;
        let heard = answer.and_then(|answer| {
            agent
                .answered(&answer, seconds())
                .map_err(ToOwned::to_owned)
        });
        let mut told = self.told.borrow_mut();
        let failure = heard.as_ref().err().map(String::as_str);
        told.ended("exchange", began.elapsed(), failure);
        let heard = heard.ok()?;
        told.acknowledged += heard.acknowledged;
        told.results += heard.results;
        Some(heard.messages)
    }

    /// Goes on until nothing is left to say on either side.
    async fn settle(&self, mut agent: Agent) -> Agent {
        let mut quiet = 0;
        while quiet < 2 && !agent.lost && Instant::now() < self.settled {
            let said = self.exchange(&mut agent).await;
            quiet = match said {
                Some(0) if agent.is_done() => quiet + 1,
                _ => 0,
            };
            sleep(PAUSE.mul_f64(fastrand::f64())).await;
        }
        agent
    }

    /// A line each second.
    async fn tell(&self, began: Instant) {
        loop {
            sleep(Duration::from_secs(1)).await;
            let told = self.told.borrow();
            let seconds = began.elapsed().as_secs();
            eprintln!("{}", told.line(seconds, self.options.clients));
        }
    }

    /// Gives orders until the time is over. A database that is away for a while is asked again.
    async fn order(&self) {
        let between = Duration::from_secs_f64(1.0 / self.options.orders);
        let url = self.options.database.as_deref().unwrap_or_default();
        let mut database = None;
        while Instant::now() < self.end {
            sleep(between).await;
            if database.is_none() {
                database = check::connect(url).await.ok();
            }
            let secure = {
                let known = self.known.borrow();
                fastrand::choice(known.iter()).cloned()
            };
            let (Some(client), Some(secure)) = (&database, secure) else {
                continue;
            };
            match check::order(client, &secure).await {
                Ok(true) => self.told.borrow_mut().ordered += 1,
                Ok(false) => {}
                Err(_) => database = None,
            }
        }
    }
}

/// Seconds since 1970.
fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(0))
}
