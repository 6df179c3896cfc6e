//! What does a computer tell about itself, beyond its network? Each report as a value.
//!
//! Samples are kept by their time: the last of two with one time counts, so that a report that comes
//! again changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::fields::{
    Fields, Invalid, NAME_CHARS_MAX, Rows, float, int, invalid, name, pair, text, time, triple,
    truth,
};
use crate::bpickle::{Key, Value};

/// Most tags of a computer.
const TAGS_MAX: usize = 1000;
/// Most bytes of a computer's annotations, names and all.
const NOTES_BYTES_MAX: usize = 1 << 20;

/// What a computer tells anew, and not only as it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anew {
    /// Everything.
    All,
    /// What is in these scopes, in the agents' words.
    Scopes(Vec<String>),
}

impl Anew {
    /// What an order to report again asks for: one that names no scopes asks for everything.
    pub fn ordered(fields: &Value) -> Self {
        match fields.at("scopes").and_then(Value::as_list) {
            None => Self::All,
            Some(scopes) => {
                let scopes = scopes.iter().filter_map(Value::as_text);
                Self::Scopes(scopes.map(str::to_owned).collect())
            }
        }
    }

    /// Is what is in this scope told anew?
    pub fn tells(&self, scope: &str) -> bool {
        match self {
            Self::All => true,
            Self::Scopes(scopes) => scopes.iter().any(|one| one == scope),
        }
    }
}

/// Names and sizes; only what has changed is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComputerInfo {
    /// Its name in the network.
    pub hostname: Option<String>,
    /// Memory, MiB.
    pub total_memory_mib: Option<i64>,
    /// Swap space, MiB.
    pub total_swap_mib: Option<i64>,
    /// Free words by name; all of them, where there are any.
    pub annotations: Option<BTreeMap<String, String>>,
    /// What it is, beyond its names.
    pub machine_id: Option<String>,
}

/// The operating system, as a whole: what is not there is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Who makes it, `Ubuntu`.
    pub distributor: Option<String>,
    /// Name for people.
    pub description: Option<String>,
    /// `24.04`.
    pub release: Option<String>,
    /// `noble`.
    pub code_name: Option<String>,
}

/// One processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Its name for people.
    pub model: String,
    /// Who makes it.
    pub vendor: Option<String>,
    /// Cache, KiB.
    pub cache_kib: Option<i64>,
}

/// A file system in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub device: String,
    /// Its kind, `ext4`.
    pub filesystem: String,
    /// Its size, MiB.
    pub total_mib: i64,
    /// When the agent saw it.
    pub reported_at: SystemTime,
}

/// One process.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// State, one letter.
    pub state: String,
    /// Its user.
    pub uid: i64,
    /// Its group.
    pub gid: i64,
    /// Since when it runs.
    pub started_at: SystemTime,
    /// Virtual memory, KiB.
    pub vm_kib: Option<i64>,
    /// Share of a processor, percent.
    pub percent_cpu: Option<f64>,
}

/// What changed among the processes, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processes {
    /// All that were known are gone.
    pub kill_all: bool,
    /// These are gone.
    pub kill: Vec<i64>,
    /// These are new or have changed, by process id.
    pub put: BTreeMap<i64, Process>,
}

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Number.
    pub uid: i64,
    /// Name for people.
    pub name: Option<String>,
    /// May sign in.
    pub enabled: bool,
    /// Where to find them.
    pub location: Option<String>,
    /// Telephone at home.
    pub home_phone: Option<String>,
    /// Telephone at work.
    pub work_phone: Option<String>,
    /// Name of the primary group, as agents of before told it.
    pub primary_group: Option<String>,
    /// Number of the primary group.
    pub primary_gid: Option<i64>,
}

/// User names by group. Each group's name is there once, whatever its length and however many members it has.
pub type Members = BTreeMap<String, BTreeSet<String>>;

/// What changed among users and groups. What is deleted is deleted first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// The operation that asked for it.
    pub operation: Option<i64>,
    /// New and changed users, by user name.
    pub put_users: BTreeMap<String, User>,
    /// Users that are gone.
    pub delete_users: Vec<String>,
    /// New and changed groups: number by name.
    pub put_groups: BTreeMap<String, i64>,
    /// Groups that are gone.
    pub delete_groups: Vec<String>,
    /// New members.
    pub put_members: Members,
    /// Members that left.
    pub delete_members: Members,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationResult {
    /// Which one.
    pub operation: i64,
    /// As it was wished.
    pub succeeded: bool,
    /// A number that says more.
    pub code: Option<i64>,
    /// What it printed.
    pub text: Option<String>,
}

/// A report that was read.
pub type Report<T> = Result<T, Invalid>;

pub(super) fn computer_info(fields: Fields<'_>, rows: &mut Rows) -> Report<ComputerInfo> {
    let annotations = match fields.find("annotations") {
        None => None,
        Some(value) => Some(notes(value, rows)?),
    };
    Ok(ComputerInfo {
        hostname: fields.optional("hostname", name)?,
        total_memory_mib: fields.optional("total-memory", int)?,
        total_swap_mib: fields.optional("total-swap", int)?,
        annotations,
        machine_id: fields.optional("machine-id", name)?,
    })
}

/// Annotations by name. What would be more than [`NOTES_BYTES_MAX`] together is left out.
fn notes(value: &Value, rows: &mut Rows) -> Report<BTreeMap<String, String>> {
    let wrong = |reason| invalid("annotations", reason);
    let entries = value.as_dict().ok_or_else(|| wrong("a dictionary"))?;
    let mut room = NOTES_BYTES_MAX;
    let mut one = |(key, value)| {
        let note = (key_name(key).map_err(wrong)?, text(value).map_err(wrong)?);
        room = room
            .checked_sub(note.0.len() + note.1.len())
            .ok_or_else(|| wrong("at most 1 MiB of text together"))?;
        Ok(note)
    };
    Ok(entries
        .iter()
        .filter_map(|entry| rows.keep(one(entry)))
        .collect())
}

fn key_name(key: &Key) -> Result<String, &'static str> {
    match key {
        Key::Text(key) => name(&Value::from(key.as_str())),
        Key::Int(_) => Err("names"),
    }
}

pub(super) fn distribution(fields: Fields<'_>) -> Report<Distribution> {
    Ok(Distribution {
        distributor: fields.optional("distributor-id", text)?,
        description: fields.optional("description", text)?,
        release: fields.optional("release", text)?,
        code_name: fields.optional("code-name", text)?,
    })
}

pub(super) fn processors(fields: Fields<'_>, rows: &mut Rows) -> Report<BTreeMap<i64, Processor>> {
    let found = fields.rows("processors")?.iter();
    Ok(found.filter_map(|row| rows.keep(processor(row))).collect())
}

fn processor(row: &Value) -> Report<(i64, Processor)> {
    let row = Fields::of(row)?;
    let processor = Processor {
        model: row.get("model", text)?,
        vendor: row.optional("vendor", text)?,
        cache_kib: row.optional("cache-size", int)?,
    };
    Ok((row.get("processor-id", int)?, processor))
}

pub(super) fn memory(
    fields: Fields<'_>,
    rows: &mut Rows,
) -> Report<BTreeMap<SystemTime, (i64, i64)>> {
    let samples = fields.some("memory-info", triple(time, int, int), rows)?;
    Ok(samples
        .into_iter()
        .map(|(at, free, swap)| (at, (free, swap)))
        .collect())
}

pub(super) fn load(fields: Fields<'_>, rows: &mut Rows) -> Report<BTreeMap<SystemTime, f64>> {
    let samples = fields.some("load-averages", pair(time, float), rows)?;
    Ok(samples.into_iter().collect())
}

pub(super) fn mounts(fields: Fields<'_>, rows: &mut Rows) -> Report<BTreeMap<String, Mount>> {
    let found = fields.rows("mount-info")?.iter();
    Ok(found.filter_map(|row| rows.keep(mount(row))).collect())
}

fn mount(row: &Value) -> Report<(String, Mount)> {
    let pair = row.as_tuple().or_else(|| row.as_list());
    let Some([at, mount]) = pair else {
        return Err(invalid("mount-info", "tuples of two"));
    };
    let mount = Fields::of(mount)?;
    let point = mount.get("mount-point", name)?;
    let mount = Mount {
        device: mount.get("device", text)?,
        filesystem: mount.get("filesystem", text)?,
        total_mib: mount.get("total-space", int)?,
        reported_at: time(at).map_err(|reason| invalid("mount-info", reason))?,
    };
    Ok((point, mount))
}

pub(super) fn free_space(
    fields: Fields<'_>,
    rows: &mut Rows,
) -> Report<BTreeMap<(String, SystemTime), i64>> {
    let samples = fields.some("free-space", triple(time, name, int), rows)?;
    Ok(samples
        .into_iter()
        .map(|(at, point, free)| ((point, at), free))
        .collect())
}

pub(super) fn processes(fields: Fields<'_>, rows: &mut Rows) -> Report<Processes> {
    Ok(Processes {
        kill_all: fields
            .optional("kill-all-processes", truth)?
            .unwrap_or_default(),
        kill: fields.some("kill-processes", int, rows)?,
        put: put(
            [
                fields.rows("add-processes")?,
                fields.rows("update-processes")?,
            ],
            process,
            rows,
        ),
    })
}

/// The rows of two lists, new ones and those that have changed, by what they are known by.
fn put<K: Ord, V>(
    lists: [&[Value]; 2],
    read: fn(&Value) -> Report<(K, V)>,
    rows: &mut Rows,
) -> BTreeMap<K, V> {
    let all = lists.into_iter().flatten();
    all.filter_map(|row| rows.keep(read(row))).collect()
}

fn process(row: &Value) -> Report<(i64, Process)> {
    let row = Fields::of(row)?;
    let process = Process {
        name: row.get("name", text)?,
        state: row.get("state", text)?,
        uid: row.get("uid", int)?,
        gid: row.get("gid", int)?,
        started_at: row.get("start-time", time)?,
        vm_kib: row.optional("vm-size", int)?,
        percent_cpu: row.optional("percent-cpu", float)?,
    };
    Ok((row.get("pid", int)?, process))
}

pub(super) fn users(fields: Fields<'_>, rows: &mut Rows) -> Report<Users> {
    Ok(Users {
        operation: fields.optional("operation-id", int)?,
        delete_users: fields.some("delete-users", name, rows)?,
        delete_groups: fields.some("delete-groups", name, rows)?,
        put_members: members(fields, "create-group-members", rows)?,
        delete_members: members(fields, "delete-group-members", rows)?,
        put_users: put(
            [fields.rows("create-users")?, fields.rows("update-users")?],
            user,
            rows,
        ),
        put_groups: put(
            [fields.rows("create-groups")?, fields.rows("update-groups")?],
            group,
            rows,
        ),
    })
}

fn user(row: &Value) -> Report<(String, User)> {
    let row = Fields::of(row)?;
    let user = User {
        uid: row.get("uid", int)?,
        name: row.optional("name", text)?,
        enabled: row.get("enabled", truth)?,
        location: row.optional("location", text)?,
        home_phone: row.optional("home-phone", text)?,
        work_phone: row.optional("work-phone", text)?,
        primary_group: row.optional("primary-groupname", text)?,
        primary_gid: row.optional("primary-gid", int)?,
    };
    Ok((row.get("username", name)?, user))
}

fn group(row: &Value) -> Report<(String, i64)> {
    let row = Fields::of(row)?;
    Ok((row.get("name", name)?, row.get("gid", int)?))
}

fn members(fields: Fields<'_>, field: &str, rows: &mut Rows) -> Report<Members> {
    let wrong = |reason| invalid(field, reason);
    let Some(value) = fields.find(field) else {
        return Ok(Members::new());
    };
    let groups = value.as_dict().ok_or_else(|| wrong("a dictionary"))?;
    let mut members = Members::new();
    for (group, names) in groups.iter() {
        let group = key_name(group).map_err(wrong);
        let names = names.as_list().ok_or_else(|| wrong("lists of names"));
        match group.and_then(|group| Ok((group, names?))) {
            Ok((group, names)) => {
                let names = names.iter().map(|member| name(member).map_err(wrong));
                let names = names.filter_map(|member| rows.keep(member)).collect();
                members.insert(group, names);
            }
            Err(why) => rows.leave(why),
        }
    }
    Ok(members)
}

pub(super) fn operation_result(fields: Fields<'_>) -> Report<OperationResult> {
    let succeeded = match fields.get("status", int)? {
        6 => true,
        5 => false,
        _ => return Err(invalid("status", "5 (failed) or 6 (succeeded)")),
    };
    Ok(OperationResult {
        operation: fields.get("operation-id", int)?,
        succeeded,
        code: fields.optional("result-code", int)?,
        text: fields.optional("result-text", text)?,
    })
}

pub(super) fn change_packages_result(fields: Fields<'_>) -> Report<OperationResult> {
    let code = fields.get("result-code", int)?;
    Ok(OperationResult {
        operation: fields.get("operation-id", int)?,
        // 1 is done; 100 is an error, 101 would need more packages than were allowed.
        succeeded: code == 1,
        code: Some(code),
        text: fields.optional("result-text", text)?,
    })
}

/// The tags in a list with commas. What is too long for a tag is left out, and so is what is more than 1000.
pub fn tags(list: &str) -> Vec<String> {
    let mut tags = BTreeSet::new();
    let all = list.split(',').map(str::trim);
    for tag in all.filter(|tag| !tag.is_empty() && tag.chars().count() <= NAME_CHARS_MAX) {
        tags.insert(tag);
        // No more than those that stay are ever kept: a list may have millions.
        if tags.len() > TAGS_MAX {
            tags.pop_last();
        }
    }
    tags.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_to_report_again_names_scopes_or_asks_for_everything() {
        let some = Anew::ordered(&Value::dict([(
            "scopes",
            Value::List(vec![
                "users".into(),
                Value::Null,
                Value::Bytes(b"disk".into()),
            ]),
        )]));
        let told = ["users", "disk", "package"].map(|scope| some.tells(scope));
        assert_eq!(told, [true, true, false]);
        assert_eq!(Anew::ordered(&Value::dict([])), Anew::All);
        assert!(Anew::All.tells("package"));
    }

    #[test]
    fn tags_are_trimmed_and_told_once() {
        assert_eq!(tags(" b, a,,b "), ["a", "b"]);
        assert_eq!(tags(""), [""; 0]);
        let many: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
        assert_eq!(tags(&many.join(",")).len(), TAGS_MAX);
    }

    #[test]
    fn annotations_beyond_their_bound_are_left_out_and_smaller_ones_kept() {
        let large = "x".repeat(NOTES_BYTES_MAX - 10);
        let notes = Value::dict([
            ("a", large.as_str().into()),
            ("b", "0123456789".into()),
            ("c", "7".into()),
        ]);
        let value = Value::dict([("annotations", notes)]);
        let mut rows = Rows::default();
        let info = computer_info(Fields::of(&value).expect("fields"), &mut rows);
        let kept = info.expect("valid").annotations.expect("annotations");
        let names: Vec<_> = kept.keys().map(String::as_str).collect();
        assert_eq!((names, rows.left_out()), (vec!["a", "c"], 1));
    }

    #[test]
    fn a_sample_that_is_told_twice_counts_once() {
        let sample = |at, free| Value::Tuple(vec![Value::Int(at), Value::Int(free), Value::Int(0)]);
        let list = Value::List(vec![sample(300, 1), sample(600, 2), sample(300, 3)]);
        let value = Value::dict([("memory-info", list)]);
        let fields = Fields::of(&value).expect("fields");
        let samples = memory(fields, &mut Rows::default()).expect("valid");
        let free: Vec<_> = samples.values().map(|(free, _)| *free).collect();
        assert_eq!(free, [3, 2]);
    }
}
