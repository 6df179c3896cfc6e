//! What happens on the stream of one host? It is let in and given an identity where it has none; then news
//! come up and orders go down until somebody ends it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use futures_util::{FutureExt, future::BoxFuture, stream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};
use tracing::{info, warn};
use uuid::Uuid;

use super::Desk;
use super::board::Call;
use crate::domain::register::{Decision, decide};
use crate::domain::wsl::{
    self as wsl_domain, Host, INSTANCES_MAX, Instance, Order, TEXT_BYTES_MAX, bounded,
};
use crate::proto::hostagent::command::{
    AssignHost, Cmd, Install, SetDefault, ShutdownHost, Start, Stop, Uninstall,
};
use crate::proto::hostagent::{Command, HostAgentInfo, InstanceState};
use crate::store::{self, StoreError, wsl};

/// How long a new stream may say nothing. An agent waits a minute for its identity to be stored.
const FIRST_WORD: Duration = Duration::from_secs(120);
/// What could not be stored is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// Orders on the way to one host that it does not take; the rest stays in the database.
const ON_THE_WAY: usize = 8;
/// What agents are told, which then come again, elsewhere.
const STOPS: &str = "the worker stops";

/// What goes down to a host.
pub type Down = BoxStream<'static, Result<Command, Status>>;

/// The same on its way through a channel, which has room for many from its beginning on: a box makes that room small.
type Sent = Result<Box<Command>, Status>;

/// Holds a stream, and returns what goes down. The task ends with the stream or the worker.
pub fn hold(desk: Desk, inbound: Streaming<HostAgentInfo>) -> Down {
    let (down, sent) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(async move {
        let Err(status) = talk(&desk, inbound, &down).await else {
            return;
        };
        // An agent that takes nothing any more is not waited for.
        let _ = timeout(AGAIN, down.send(Err(status))).await;
    });
    stream::unfold(sent, |mut sent| async move {
        let next: Option<Sent> = sent.recv().await;
        next.map(|item| (item.map(|command| *command), sent))
    })
    .boxed()
}

type Lane<'a> = &'a mpsc::Sender<Sent>;

// The parts are boxes, which are given back: a task is as large as the largest thing that it ever waits for, and this one
// may last for weeks.
async fn talk(
    desk: &Desk,
    inbound: Streaming<HostAgentInfo>,
    down: Lane<'_>,
) -> Result<(), Status> {
    let Some((uid, stream, inbound)) = let_in(desk, inbound, down).boxed().await? else {
        return Ok(());
    };
    let late = desk.worker.is_stopping();
    let done = attend(desk, uid, stream, inbound, down).await;
    desk.board.leave(uid, stream);
    // That all streams of a worker that stops are over is stored at once: the last of thousands would be told too late. One
    // that was let in while the worker was told to stop may have missed that.
    if desk.worker.is_stopping() && !late {
        return done;
    }
    if let Err(problem) = desk.disconnected(uid, stream).boxed().await {
        warn!(%uid, %problem, "a host that left counts as connected for a while");
        desk.board.remember(uid, stream);
    }
    done
}

/// Lets a host in. Who it is, and its stream; None where it went away.
async fn let_in(
    desk: &Desk,
    mut inbound: Streaming<HostAgentInfo>,
    down: Lane<'_>,
) -> Result<Option<(Uuid, Uuid, Streaming<HostAgentInfo>)>, Status> {
    let Some(mut info) = word(desk, &mut inbound).await? else {
        return Ok(None);
    };
    loop {
        let (uid, known) = desk.admit(&info).await?;
        if !known {
            let assign = Cmd::AssignHost(AssignHost {
                uid: uid.to_string(),
            });
            let command = Command {
                cmd: Some(assign),
                request_id: String::new(),
            };
            let _ = down.send(Ok(Box::new(command))).await;
            // It stores the identity and says so on this stream; some close it then and come again.
            while identity(&info) != Some(uid) {
                let Some(next) = word(desk, &mut inbound).await? else {
                    return Ok(None);
                };
                info = next;
            }
        }
        let stream = uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid();
        match desk.connected(uid, stream, &host(&info)).await {
            Ok(true) => {
                info!(%uid, known, "a host is connected");
                return Ok(Some((uid, stream, inbound)));
            }
            // It was forgotten meanwhile, or another of its name came: it is given an identity as any that nobody has.
            Ok(false) => {}
            Err(status) => {
                // It may have been stored all the same.
                desk.board.remember(uid, stream);
                return Err(status);
            }
        }
    }
}

/// What an agent says first, or after it was given an identity. A worker that stops does not wait for it.
async fn word(
    desk: &Desk,
    inbound: &mut Streaming<HostAgentInfo>,
) -> Result<Option<HostAgentInfo>, Status> {
    tokio::select! {
        () = desk.worker.stopping() => Err(Status::unavailable(STOPS)),
        said = timeout(FIRST_WORD, inbound.message()) => {
            said.map_err(|_| Status::unavailable("nothing was said for too long"))?
        }
    }
}

/// The long part. A box, so that the task of an idle stream is as small as what it waits for.
fn attend<'a>(
    desk: &'a Desk,
    uid: Uuid,
    stream: Uuid,
    mut inbound: Streaming<HostAgentInfo>,
    down: Lane<'a>,
) -> BoxFuture<'a, Result<(), Status>> {
    async move {
        let mut called = desk.board.join(uid, stream);
        // Orders that were given before.
        called.mark_changed();
        let stopping = desk.worker.stopping();
        tokio::pin!(stopping);
        let mut unstored: Option<Box<Host>> = None;
        let mut look = false;
        let mut unsure = Vec::new();
        loop {
            let retry = unstored.is_some() || look;
            tokio::select! {
                () = &mut stopping => return Err(Status::unavailable(STOPS)),
                changed = called.changed() => {
                    let end = changed.is_err() || *called.borrow_and_update() == Call::End;
                    if end {
                        return Err(Status::aborted("another stream of this host took its place"));
                    }
                    look = true;
                }
                said = inbound.message() => match said? {
                    None => return Ok(()),
                    Some(info) if identity(&info) == Some(uid) => unstored = Some(Box::new(host(&info))),
                    Some(_) => return Err(Status::aborted("the identity changed: come again with it")),
                },
                () = down.closed() => return Ok(()),
                () = sleep(AGAIN), if retry => {}
            }
            if let Some(host) = &unstored {
                match desk.told(uid, host).boxed().await {
                    Ok(()) => unstored = None,
                    Err(problem) => warn!(%uid, %problem, "what a host told waits"),
                }
            }
            if look {
                let handed = desk.hand_down(uid, stream, down, &mut unsure).boxed();
                look = match handed.await {
                    Ok(more) => more,
                    Err(problem) => {
                        warn!(%uid, %problem, "orders wait");
                        true
                    }
                };
            }
        }
    }
    .boxed()
}

fn identity(info: &HostAgentInfo) -> Option<Uuid> {
    Uuid::try_parse(&info.uid).ok()
}

/// What a host tells, bounded. Of two instances with one identity the managed one counts.
fn host(info: &HostAgentInfo) -> Host {
    let text = |text: &str| bounded(text, TEXT_BYTES_MAX);
    let mut instances = BTreeMap::new();
    let both = [(&info.unmanaged_instances, false), (&info.instances, true)];
    for (list, managed) in both {
        for one in list.iter().take(INSTANCES_MAX) {
            let instance = Instance {
                name: text(&one.name),
                version_id: text(&one.version_id),
                running: one.instance_state == i32::from(InstanceState::Running),
                managed,
            };
            instances.insert(text(&one.id), instance);
        }
    }
    Host {
        hostname: text(&info.hostname),
        default_instance: info.default_instance_id.as_deref().map(text),
        instances,
    }
}

fn command(command: wsl_domain::Command) -> Command {
    let cmd = match command.order {
        Order::Start(id) => Cmd::Start(Start { id }),
        Order::Stop(id) => Cmd::Stop(Stop { id }),
        Order::Install {
            instance,
            cloudinit,
            rootfs_url,
        } => Cmd::Install(Install {
            id: instance,
            cloudinit,
            rootfs_url,
        }),
        Order::Uninstall(id) => Cmd::Uninstall(Uninstall { id }),
        Order::SetDefault(id) => Cmd::SetDefault(SetDefault { id }),
        Order::ShutdownHost => Cmd::ShutdownHost(ShutdownHost {}),
    };
    Command {
        cmd: Some(cmd),
        request_id: command.request_id.to_string(),
    }
}

fn later(problem: StoreError) -> Status {
    tracing::error!(%problem, "a host is not served");
    Status::unavailable("try again later")
}

/// What becomes of a host that asks to be let in.
enum Admission {
    /// It is let in, with its identity and whether that is the one it came with.
    In(Uuid, bool),
    /// Its account or its key is wrong.
    Refused,
    /// As many wait for an administrator as may wait.
    Full,
}

/// The registration key that a host shows.
fn shown(info: &HostAgentInfo) -> Option<&str> {
    let key = info.registration_key.as_deref();
    key.filter(|key| !key.is_empty())
}

impl Desk {
    /// Lets a host in. Its identity, and whether that is the one it came with.
    async fn admit(&self, info: &HostAgentInfo) -> Result<(Uuid, bool), Status> {
        // Asked for before the transaction begins: who keeps it may take its time.
        let kept = match shown(info) {
            Some(_) => self.secrets.registration_key(&info.account_name).await,
            None => Ok(None),
        };
        let kept = kept.map_err(|problem| {
            tracing::error!(%problem, "a host is not served");
            Status::unavailable("try again later")
        })?;
        let decided = self.try_admit(info, kept.as_deref()).await;
        match decided.map_err(later)? {
            Admission::In(uid, known) => Ok((uid, known)),
            Admission::Refused => {
                info!(account = info.account_name, "a host was refused");
                // Word by word the same for both, as in the exchange of computers.
                Err(Status::permission_denied(
                    "unknown account or wrong registration key",
                ))
            }
            // Nothing is wrong with this one: it comes again, and there may be room then.
            Admission::Full => Err(Status::resource_exhausted(
                "too many hosts wait to be accepted",
            )),
        }
    }

    async fn try_admit(
        &self,
        info: &HostAgentInfo,
        kept: Option<&str>,
    ) -> Result<Admission, StoreError> {
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let mut account = store::account::find(&tx, &info.account_name).await?;
        if let (Some(account), Some(kept)) = (&mut account, kept) {
            account.key = Some(kept.to_owned());
        }
        let decision = decide(account.as_ref(), shown(info));
        let accepted = decision == Decision::Accept;
        let Some(account) = account.filter(|_| decision != Decision::UnknownAccount) else {
            return Ok(Admission::Refused);
        };
        if let Some(uid) = identity(info)
            && let Some(known) = wsl::known(&tx, account.id, uid).await?
        {
            if accepted && !known.accepted {
                wsl::accept(&tx, uid).await?;
            }
            store::commit(tx).await?;
            return Ok(Admission::In(uid, true));
        }
        // One after the other, so that the bound holds.
        store::account::lock(&tx, &info.account_name).await?;
        if !accepted {
            // Counts them all, so not for those that are let in anyway: thousands of new ones would come one by one.
            let waiting = wsl::pending(&tx, account.id).await?;
            if waiting >= account.pending_max.into() {
                warn!(waiting, "a host is to come again: too many wait");
                return Ok(Admission::Full);
            }
        }
        let hostname = bounded(&info.hostname, TEXT_BYTES_MAX);
        let uid = wsl::create(&tx, account.id, &hostname, accepted).await?;
        store::commit(tx).await?;
        info!(%uid, accepted, "a host is new");
        Ok(Admission::In(uid, false))
    }

    /// Stores that a host is connected, and what it tells. False where there is no such host any more.
    async fn connected(&self, uid: Uuid, stream: Uuid, host: &Host) -> Result<bool, Status> {
        let store = async {
            let mut connection = self.store.connection().await?;
            let tx = store::begin(&mut connection).await?;
            if !wsl::connected(&tx, uid, stream, &self.worker.machine_label()).await? {
                return Ok(false);
            }
            wsl::told(&tx, uid, host).await?;
            store::commit(tx).await?;
            Ok(true)
        };
        store.await.map_err(later)
    }

    pub(super) async fn disconnected(&self, uid: Uuid, stream: Uuid) -> Result<(), StoreError> {
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        wsl::disconnected(&tx, uid, stream).await?;
        store::commit(tx).await
    }

    async fn told(&self, uid: Uuid, host: &Host) -> Result<(), StoreError> {
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        wsl::told(&tx, uid, host).await?;
        store::commit(tx).await
    }

    /// Sends the orders that wait, as many as there is room for. True where more may wait.
    ///
    /// A commit that fails may have been stored all the same. Its orders were not sent then, and nobody else would send
    /// them while this stream lives: they stay `unsure`, and the next time they wait again.
    async fn hand_down(
        &self,
        uid: Uuid,
        stream: Uuid,
        down: Lane<'_>,
        unsure: &mut Vec<Uuid>,
    ) -> Result<bool, StoreError> {
        let room = down.capacity();
        if room == 0 {
            return Ok(true);
        }
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let most = i64::try_from(room).unwrap_or(1);
        let taken = wsl::take(&tx, uid, stream, most, unsure).await?;
        unsure.extend(taken.iter().flatten().map(|one| one.request_id));
        store::commit(tx).await?;
        *unsure = Vec::new();
        let Some(commands) = taken else {
            self.board.end(uid, stream);
            return Ok(false);
        };
        let more = commands.len() == room;
        for one in commands {
            self.metrics
                .host_commands
                .with_label_values(&["sent"])
                .inc();
            // There is room: nobody else sends here.
            let _ = down.try_send(Ok(Box::new(command(one))));
        }
        Ok(more)
    }
}
