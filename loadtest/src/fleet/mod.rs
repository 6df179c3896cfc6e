//! How does a whole fleet behave? Agents that register, ping, exchange, report and obey, and WSL hosts that hold
//! streams, through the edge.
//!
//! Each agent is a task: it registers, then pings and exchanges at its pace, reports interfaces that
//! change, and does what it is ordered. After the time it goes on until all that it said is
//! acknowledged, within bounds. Each host is one, too: it holds its stream until the very end. Then the database is
//! asked whether it holds just what was said and acknowledged (`check`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use self::agent::Agent;
use self::call::Key;
use self::check::{Compared, Ours};
use self::host::Host;
use self::http::{Failure, Target};
pub use self::options::Options;
use self::order::Given;
use self::stream::{Door, Shared};
use self::told::{Hosts, Outcome, Told};
use self::used::Account;
use crate::scenario::Protocol;

mod agent;
mod call;
mod check;
mod host;
mod http;
mod options;
mod order;
mod pickle;
mod stream;
mod told;
mod used;

/// Pause after a request that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest time between a ping that says yes and the exchange that follows.
const URGENT: Duration = Duration::from_secs(1);
/// Between two comparisons with a database that is written behind.
const AGAIN: Duration = Duration::from_millis(500);

/// A computer that is registered.
#[derive(Clone)]
struct Computer {
    secure: String,
    title: String,
}

struct Fleet {
    options: Options,
    run: String,
    exchanges: Target,
    pings: Target,
    door: Rc<Door>,
    key: Option<Key>,
    told: Rc<RefCell<Told>>,
    known: RefCell<Vec<Computer>>,
    hosts: Vec<Shared>,
    given: RefCell<Vec<Given>>,
    host_given: RefCell<Vec<Given>>,
    /// Kinds of errands that are still run.
    errands: Cell<usize>,
    /// An interrupt moves it, and tells whoever waits.
    end: Cell<Instant>,
    interrupted: Notify,
}

/// Runs a fleet. Needs a `LocalSet`.
///
/// # Errors
///
/// A database that is not there, or settings that contradict each other.
pub async fn run(options: Options) -> anyhow::Result<Outcome> {
    options.check()?;
    let began = Instant::now();
    let account = Account::open(&options.measure)?;
    let fleet = Rc::new(Fleet::new(options)?);
    if let Some(url) = &fleet.options.database {
        check::connect(url).await?;
    }
    let mut agents = JoinSet::new();
    for number in 0..fleet.options.clients {
        let (fleet, agent) = (Rc::clone(&fleet), Agent::new(&fleet.run, number));
        agents.spawn_local(async move { fleet.live(agent).await });
    }
    // Theirs are the streams, which end with this set.
    let mut hosts = JoinSet::new();
    for (number, host) in fleet.hosts.iter().enumerate() {
        let (door, host) = (Rc::clone(&fleet.door), Rc::clone(host));
        let late = Duration::from_secs_f64(number as f64 / fleet.options.arrivals);
        hosts.spawn_local(async move {
            sleep(late).await;
            door.live(number, host).await;
        });
    }
    let mut others: JoinSet<()> = JoinSet::new();
    if !fleet.options.json {
        let fleet = Rc::clone(&fleet);
        others.spawn_local(async move { fleet.tell(began).await });
    }
    let interrupted = Rc::clone(&fleet);
    others.spawn_local(async move { interrupted.listen().await });
    let sampled = account.clone();
    others.spawn_local(async move { sampled.keep_reading().await });
    let mut orders: JoinSet<()> = JoinSet::new();
    for (wanted, giving) in [
        (fleet.options.orders, Errand::Order),
        (fleet.options.host_orders, Errand::OrderHost),
        (fleet.options.calls, Errand::Look),
    ] {
        if wanted > 0.0 {
            fleet.errands.set(fleet.errands.get() + 1);
            let fleet = Rc::clone(&fleet);
            orders.spawn_local(async move { fleet.run_errands(giving, wanted).await });
        }
    }
    let mut done = Vec::new();
    while let Some(agent) = agents.join_next().await {
        done.push(agent.context("a client")?);
    }
    // Without agents it is the time that ends. Errands end by themselves, so that what each came to is known.
    while orders.join_next().await.is_some() {}
    fleet.until(fleet.end.get()).await;
    let compared = fleet.compare(&done).await?;
    let used = account.used(fleet.told.borrow().streams_open)?;
    let outcome = fleet.outcome(began, &done, compared, used);
    others.shutdown().await;
    hosts.shutdown().await;
    Ok(outcome)
}

/// What is done at a rate.
#[derive(Clone, Copy)]
enum Errand {
    /// A script is ordered of a computer.
    Order,
    /// Something is ordered of a host.
    OrderHost,
    /// A computer is looked at.
    Look,
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
        let told = Rc::new(RefCell::new(Told::new()));
        let tls = match options.grpc_plain {
            true => None,
            false => Some(crate::tls::client(Protocol::Grpc, true)?),
        };
        let door = Door {
            address: options.grpc,
            name: options.host.clone(),
            tls,
            timeout: Duration::from_secs(options.timeout),
            wait_max: Duration::from_millis(options.host_wait_ms),
            change: Duration::from_millis(options.host_change_ms),
            told: Rc::clone(&told),
        };
        let run = format!("fleet{:08x}", fastrand::u32(..));
        let host = |number| {
            let (account, key) = (&options.account, options.key.as_deref());
            Rc::new(RefCell::new(Host::new(&run, number, account, key)))
        };
        Ok(Fleet {
            hosts: (0..options.hosts).map(host).collect(),
            key: options.api_key.as_deref().map(Key::read).transpose()?,
            door: Rc::new(door),
            run,
            end: Cell::new(Instant::now() + Duration::from_secs(options.seconds)),
            exchanges,
            pings,
            told,
            errands: Cell::new(0),
            interrupted: Notify::new(),
            known: RefCell::default(),
            given: RefCell::default(),
            host_given: RefCell::default(),
            options,
        })
    }

    /// Does the time run?
    fn runs(&self) -> bool {
        Instant::now() < self.end.get()
    }

    /// When everything must have settled.
    fn settled(&self) -> Instant {
        self.end.get() + Duration::from_secs(self.options.settle)
    }

    /// Waits until then, or until the end that an interrupt sets.
    async fn until(&self, at: Instant) {
        tokio::select! {
            () = sleep_until(at.min(self.end.get()).into()) => {}
            () = self.interrupted.notified() => {}
        }
    }

    /// The first interrupt ends the time, the second ends it all.
    async fn listen(&self) {
        for turn in 0..2 {
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            if turn == 0 {
                self.end.set(self.end.get().min(Instant::now()));
                self.interrupted.notify_waiters();
            } else {
                std::process::exit(130);
            }
        }
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
        while self.runs() && !agent.lost {
            self.until(ping_at.min(exchange_at)).await;
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
        while self.runs() {
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
                self.known.borrow_mut().push(Computer {
                    secure: secure.clone(),
                    title: agent.title.clone(),
                });
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

    /// Goes on until nothing is left to say on either side, and nobody orders any more.
    async fn settle(&self, mut agent: Agent) -> Agent {
        let mut quiet = 0;
        while quiet < 2 && !agent.lost && Instant::now() < self.settled() {
            let said = self.exchange(&mut agent).await;
            quiet = match said {
                Some(0) if agent.is_done() && self.errands.get() == 0 => quiet + 1,
                _ => 0,
            };
            sleep(PAUSE.mul_f64(fastrand::f64())).await;
        }
        agent.settled = quiet == 2;
        self.ping(&agent).await;
        agent
    }

    /// A line each second.
    async fn tell(&self, began: Instant) {
        loop {
            sleep(Duration::from_secs(1)).await;
            let told = self.told.borrow();
            let seconds = began.elapsed().as_secs();
            let (clients, hosts) = (self.options.clients, self.options.hosts);
            eprintln!("{}", told.line(seconds, clients, hosts));
        }
    }

    /// Does something at a rate until the time is over. A database that is away for a while is asked again.
    async fn run_errands(&self, errand: Errand, rate: f64) {
        let between = Duration::from_secs_f64(1.0 / rate);
        let (mut turn, mut database, mut script) = (0_u32, None, None);
        while self.runs() {
            turn = turn.saturating_add(1);
            self.until(Instant::now() + between).await;
            let _ = match (errand, &self.key) {
                (Errand::OrderHost, _) => self.order_host(&mut database).await,
                (Errand::Order, None) => self.order(&mut database).await,
                (Errand::Order, Some(key)) => self.order_by_call(key, &mut script, turn).await,
                (Errand::Look, Some(key)) => self.look(key).await,
                (Errand::Look, None) => None,
            };
        }
        self.errands.set(self.errands.get() - 1);
    }

    /// A connection to the database, kept until it fails.
    async fn database<'a>(
        &self,
        kept: &'a mut Option<tokio_postgres::Client>,
    ) -> Option<&'a tokio_postgres::Client> {
        if kept.as_ref().is_none_or(tokio_postgres::Client::is_closed) {
            let url = self.options.database.as_deref().unwrap_or_default();
            *kept = check::connect(url).await.ok();
        }
        kept.as_ref()
    }

    fn somebody(&self) -> Option<Computer> {
        fastrand::choice(self.known.borrow().iter()).cloned()
    }

    /// Orders something of a computer in the database.
    async fn order(&self, kept: &mut Option<tokio_postgres::Client>) -> Option<()> {
        let computer = self.somebody()?;
        let client = self.database(kept).await?;
        let mark = format!("order{}", self.given.borrow().len());
        let done = order::script(client, &computer.secure, &mark).await;
        let done = done.map_err(|_| "database".to_owned());
        self.ordered(mark, computer, &done);
        Some(())
    }

    fn ordered(&self, mark: String, computer: Computer, done: &Result<bool, Failure>) {
        if *done == Ok(true) {
            self.told.borrow_mut().ordered += 1;
        }
        self.given.borrow_mut().push(Given {
            mark,
            of: computer.secure,
            acknowledged: *done == Ok(true),
        });
    }

    /// Orders something of a computer by the API.
    async fn order_by_call(&self, key: &Key, script: &mut Option<i64>, turn: u32) -> Option<()> {
        let computer = self.somebody()?;
        let began = Instant::now();
        let Some(id) = *script else {
            // One whose answer was lost may be there: another title.
            let made = key
                .script(&self.exchanges, &format!("{}-{turn}", self.run))
                .await;
            self.called(began, made.as_ref().err());
            *script = made.ok();
            return Some(());
        };
        let mark = format!("order{}", self.given.borrow().len());
        let done = key.order(&self.exchanges, &computer.title, id, &mark).await;
        self.called(began, done.as_ref().err());
        self.ordered(mark, computer, &done.map(|()| true));
        Some(())
    }

    /// Looks at a computer by the API.
    async fn look(&self, key: &Key) -> Option<()> {
        let computer = self.somebody()?;
        let began = Instant::now();
        let done = key.look(&self.exchanges, &computer.title).await;
        self.called(began, done.as_ref().err());
        Some(())
    }

    fn called(&self, began: Instant, failure: Option<&Failure>) {
        let mut told = self.told.borrow_mut();
        told.ended("call", began.elapsed(), failure.map(String::as_str));
    }

    /// Orders something of a host in the database: of an instance that it has, or now and then of one that it has not.
    async fn order_host(&self, kept: &mut Option<tokio_postgres::Client>) -> Option<()> {
        let (uid, instance) = {
            let host = fastrand::choice(&self.hosts)?.borrow();
            let had = fastrand::choice(host.instances.keys()).cloned();
            (host.uid.clone()?, had.filter(|_| fastrand::u8(..) > 25))
        };
        let instance = instance.unwrap_or_else(|| "Arch".to_owned());
        let kind = *fastrand::choice(&["start", "stop", "set_default"])?;
        let client = self.database(kept).await?;
        let mark = order::uuid();
        let done = order::of_host(client, &uid, kind, &instance, &mark).await;
        let acknowledged = matches!(done, Ok(true));
        self.told.borrow_mut().host_ordered += u64::from(acknowledged);
        self.host_given.borrow_mut().push(Given {
            mark,
            of: uid,
            acknowledged,
        });
        Some(())
    }

    /// Compares with the database, again and again until it agrees or all should have settled: pings are written
    /// behind, and what a host told last may still be on its way.
    async fn compare(&self, agents: &[Agent]) -> anyhow::Result<Option<Compared>> {
        let Some(url) = &self.options.database else {
            return Ok(None);
        };
        loop {
            // What began before the end may be in it.
            let since = Instant::now().saturating_duration_since(self.end.get());
            let (given, host_given) = (
                self.given.borrow().clone(),
                self.host_given.borrow().clone(),
            );
            let ours = Ours {
                run: &self.run,
                agents,
                hosts: &self.hosts,
                given: &given,
                host_given: &host_given,
                key: self.options.key.is_some(),
                settling: since + URGENT,
            };
            let compared = match check::connect(url).await {
                Ok(client) => check::compare(&client, &ours).await,
                Err(away) => Err(away),
            };
            let late = Instant::now() >= self.settled();
            match compared {
                Ok(compared) if late || compared.problems.total == 0 => return Ok(Some(compared)),
                Ok(compared) => {
                    for place in compared.unheard {
                        self.ping(&agents[place]).await;
                    }
                }
                Err(problem) if late => return Err(problem),
                Err(_) => {}
            }
            sleep(AGAIN).await;
        }
    }

    fn outcome(
        &self,
        began: Instant,
        agents: &[Agent],
        compared: Option<Compared>,
        used: Option<told::Used>,
    ) -> Outcome {
        let told = self.told.borrow();
        // Without a database it is what the hosts know.
        let quiet = |host: &Shared| host.borrow().uid.is_some() && host.borrow().unsaid.is_empty();
        let converged = match &compared {
            Some(compared) => compared.hosts_good,
            None => self
                .hosts
                .iter()
                .filter(|host| quiet(host))
                .count()
                .min(told.streams_open),
        };
        let hosts = Hosts {
            hosts: self.hosts.len(),
            streams_open: told.streams_open,
            reconnects: told.reconnects,
            orders_given: told.host_ordered,
            orders_taken: told.host_taken,
            orders_repeated: told.host_repeated,
            statuses_answered: told.statuses,
            converged,
            compared: compared.as_ref().map(|compared| compared.hosts),
        };
        let settled = |agent: &&Agent| agent.settled && agent.is_done() && agent.wrong.is_empty();
        let computers = compared.as_ref().map(|compared| compared.computers);
        let problems = compared
            .map(|compared| compared.problems)
            .unwrap_or_default();
        Outcome {
            clients: self.options.clients,
            registered: told.registered,
            seconds: began.elapsed().as_secs_f64(),
            requests: told.kinds(),
            messages_acknowledged: told.acknowledged,
            orders_given: told.ordered,
            orders_done: told.results,
            converged: agents.iter().filter(settled).count(),
            compared: computers,
            problems: problems.first,
            problems_total: problems.total,
            hosts,
            used,
        }
    }
}

/// Seconds since 1970.
fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(0))
}
