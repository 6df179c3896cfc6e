//! Which computers does a query mean? Its terms as conditions, with every value apart from the SQL.

use tokio_postgres::types::ToSql;

use super::{Result, Tx, one, rows};
use crate::domain::query::{Condition, Query, Term};

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
                let n = self.push(word.to_lowercase());
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
                let n = self.push(name.to_lowercase());
                format!(
                    "{n} in (lower(release), lower(code_name), lower(distribution), \
                     lower(distributor))"
                )
            }
            Term::Hostname(name) => {
                let n = self.push(name.to_lowercase());
                format!("{n} in (lower(hostname), split_part(lower(hostname), '.', 1))")
            }
            Term::Title(title) => {
                let n = self.push(title.clone());
                format!("title = {n}")
            }
            Term::Offline => "coalesce((select last_at from computer_ping \
                 where computer_id = computer.id), registered_at) < now() - interval '5 minutes'"
                .to_owned(),
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
                let n = self.push(address.to_lowercase());
                interface(&format!("lower(mac_address) = {n}"))
            }
            Term::Ip(part) => {
                let n = self.push(part.clone());
                interface(&format!(
                    "ip_address <> '0.0.0.0' and strpos(host(ip_address), {n}) > 0"
                ))
            }
            Term::NeedsReboot => "reboot_required".to_owned(),
            Term::Annotation(name, text) => {
                let n = self.push(name.clone());
                let holds = match text {
                    Some(text) => {
                        let n = self.push(text.to_lowercase());
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
    let found = rows(tx, &sql, &condition.values()).await?;
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
    Ok(one(tx, &sql, &condition.values()).await?.try_get(0)?)
}
