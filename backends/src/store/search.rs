//! Which computers does a query mean? Its terms as conditions, with every value apart from the SQL.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Result, Tx, rows_once};
use crate::domain::alert::Alert;
use crate::domain::query::{Condition, Query, Term};
use crate::domain::wsl::Family;

/// A value of a condition.
type Value = Box<dyn ToSql + Sync + Send>;

/// A condition over `computer`, and its values from `$n` on.
pub(super) struct Where {
    /// SQL that is true or false.
    pub sql: String,
    /// Its values, the account's number first.
    pub values: Vec<Value>,
}

impl Where {
    /// Accepted computers of this account that a query means.
    pub fn of(account: i64, query: &Query) -> Self {
        let mut made = Self {
            sql: "account_id = $1 and accepted".to_owned(),
            values: vec![Box::new(account)],
        };
        for alternatives in &query.all {
            let any: Vec<String> = alternatives.iter().map(|one| made.condition(one)).collect();
            made.sql.push_str(&format!(" and ({})", any.join(" or ")));
        }
        made
    }

    /// All values, as a statement takes them.
    pub fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values
            .iter()
            .map(|value| &**value as &(dyn ToSql + Sync))
            .collect()
    }

    fn push(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    /// A value in lower case, by the database's rules: what it compares with is lowered by the same, which
    /// know letters beyond ASCII or not.
    fn lower(&mut self, text: &str) -> String {
        let n = self.push(text.to_owned());
        format!("lower({n}::text)")
    }

    fn condition(&mut self, condition: &Condition) -> String {
        let sql = self.term(&condition.term);
        match condition.not {
            true => format!("not coalesce({sql}, false)"),
            false => sql,
        }
    }

    fn term(&mut self, term: &Term) -> String {
        match term {
            Term::Word(word) => {
                let n = self.lower(word);
                format!("(strpos(lower(title), {n}) > 0 or strpos(lower(hostname), {n}) > 0)")
            }
            Term::Tag(tag) => {
                let n = self.push(tag.clone());
                format!(
                    "exists (select from computer_tag where computer_id = computer.id \
                     and tag = {n})"
                )
            }
            Term::Distribution(name) => {
                let n = self.lower(name);
                format!(
                    "{n} in (lower(release), lower(code_name), lower(distribution), \
                     lower(distributor))"
                )
            }
            Term::Hostname(name) => {
                let n = self.lower(name);
                format!("{n} in (lower(hostname), split_part(lower(hostname), '.', 1))")
            }
            Term::Title(title) => {
                let n = self.push(title.clone());
                format!("title = {n}")
            }
            Term::Alert(about) => alert(*about).to_owned(),
            Term::AccessGroup(group) => {
                let group = if group == "global" { "" } else { group };
                let n = self.push(group.to_owned());
                format!("access_group = {n}")
            }
            Term::Id(id) => {
                let n = self.push(*id);
                format!("computer.id = {n}")
            }
            Term::Mac(address) => {
                let n = self.lower(address);
                interface(&format!("strpos(lower(mac_address), {n}) > 0"))
            }
            Term::Ip(part) => {
                let n = self.push(part.clone());
                interface(&format!(
                    "ip_address <> '0.0.0.0' and strpos(host(ip_address), {n}) > 0"
                ))
            }
            Term::NeedsReboot => alert(Alert::ComputerReboot).to_owned(),
            Term::Annotation(name, text) => {
                let n = self.push(name.clone());
                let holds = match text {
                    Some(text) => {
                        let n = self.lower(text);
                        format!(" and strpos(lower(value), {n}) > 0")
                    }
                    None => String::new(),
                };
                format!(
                    "exists (select from computer_annotation where computer_id = computer.id \
                     and name = {n}{holds})"
                )
            }
            Term::Nothing => "false".to_owned(),
        }
    }
}

/// A condition over `computer` that is true while it has an alert.
pub(super) fn alert(alert: Alert) -> &'static str {
    match alert {
        Alert::PackageUpgrades => {
            "exists (select from computer_packages told \
             where told.computer_id = computer.id and not isempty(told.upgrades))"
        }
        Alert::SecurityUpgrades => {
            "exists (select from computer_packages told where told.computer_id = computer.id \
             and not isempty(told.upgrades) and not isempty(told.upgrades * told.security))"
        }
        Alert::PackageReporter => {
            "exists (select from package_report told \
             where told.computer_id = computer.id and told.code <> 0)"
        }
        Alert::ComputerOffline => {
            "coalesce((select last_at from computer_ping where computer_id = computer.id), \
             registered_at) < now() - interval '5 minutes'"
        }
        Alert::ComputerReboot => "coalesce(reboot_required, false)",
    }
}

fn interface(condition: &str) -> String {
    format!(
        "exists (select from network_interface where computer_id = computer.id and {condition})"
    )
}

/// The numbers of the computers that a query means, in order of their titles,
/// `most` from `offset`.
///
/// # Errors
///
/// The database's.
pub async fn ids(
    tx: &Tx<'_>,
    account: i64,
    query: &Query,
    offset: i64,
    most: i64,
) -> Result<Vec<i64>> {
    let mut condition = Where::of(account, query);
    let (o, m) = (condition.push(offset), condition.push(most));
    let sql = format!(
        "select id from computer where {} order by title, id offset {o} limit {m}",
        condition.sql
    );
    let found = rows_once(tx, &sql, &condition.values()).await?;
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// How many computers a query means.
///
/// # Errors
///
/// The database's.
pub async fn count(tx: &Tx<'_>, account: i64, query: &Query) -> Result<i64> {
    let condition = Where::of(account, query);
    let sql = format!("select count(*) from computer where {}", condition.sql);
    count_of(tx, &sql, &condition).await
}

async fn count_of(tx: &Tx<'_>, sql: &str, condition: &Where) -> Result<i64> {
    let found = rows_once(tx, sql, &condition.values()).await?;
    Ok(found.first().map_or(Ok(0), |row| row.try_get(0))?)
}

/// A computer, or a WSL host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number, which no other computer or host has.
    pub id: i64,
    /// The identity of a host; None for a computer.
    pub host: Option<Uuid>,
}

/// WSL hosts in place of `computer`, with all that conditions look at. One that is connected is heard of
/// now, and one that is not was when it went.
const HOSTS: &str = "(select number as id, uid, account_id, accepted, hostname as title, hostname, \
        '' as access_group, null::text as distributor, null::text as distribution, \
        null::text as release, null::text as code_name, null::boolean as reboot_required, \
        case when stream is not null then now() else coalesce(disconnected_at, registered_at) end \
            as registered_at \
    from wsl_host) as computer";

/// A computer names the host that it lives on.
const NAMES_A_HOST: &str = "coalesce(hostagent_uid, '') <> ''";

/// The host that a computer names is one of its account.
const HAS_A_HOST: &str = "exists (select from wsl_host where uid::text = computer.hostagent_uid \
    and wsl_host.account_id = computer.account_id and wsl_host.accepted)";

/// Those of families that a query means, as `found`.
fn members(family: Family, condition: &str) -> String {
    let computers = match family {
        Family::Roots => format!("not {HAS_A_HOST}"),
        Family::All => "true".to_owned(),
        Family::Hosts => "false".to_owned(),
        Family::Instances | Family::HostsAndInstances => NAMES_A_HOST.to_owned(),
    };
    let hosts = match family {
        Family::Instances => "false",
        _ => "true",
    };
    format!(
        "(select id, title, null::uuid as uid from computer where {condition} and {computers} \
          union all \
          select id, title, uid from {HOSTS} where {condition} and {hosts}) as found"
    )
}

/// Computers and hosts of an account that a query means, in order of their titles, `most` from `offset`,
/// and how many there are.
///
/// # Errors
///
/// The database's.
pub async fn families(
    tx: &Tx<'_>,
    account: i64,
    query: &Query,
    family: Family,
    offset: i64,
    most: i64,
) -> Result<(i64, Vec<Member>)> {
    let mut condition = Where::of(account, query);
    let from = members(family, &condition.sql);
    let sql = format!("select count(*) from {from}");
    let count = count_of(tx, &sql, &condition).await?;
    let (o, m) = (condition.push(offset), condition.push(most));
    let sql = format!("select id, uid from {from} order by title, id offset {o} limit {m}");
    let mut found = Vec::new();
    for row in rows_once(tx, &sql, &condition.values()).await? {
        found.push(Member {
            id: row.try_get(0)?,
            host: row.try_get(1)?,
        });
    }
    Ok((count, found))
}
