//! Who gives orders? The database itself, as a service would, or the API by signed calls.
//!
//! Every order bears a mark that no other has, so that one that was stored twice shows.

use tokio_postgres::Client;

use super::pickle::Value;

/// An order that was given, or may have been.
#[derive(Clone, Debug)]
pub struct Given {
    /// What tells it from every other.
    pub mark: String,
    /// The identity of whom it was ordered.
    pub of: String,
    /// Whoever took it said that it is stored.
    pub acknowledged: bool,
}

/// Orders a script of the computer with this identity, under this mark. True where there is such a computer.
///
/// # Errors
///
/// The database's.
pub async fn script(client: &Client, secure: &str, mark: &str) -> anyhow::Result<bool> {
    let fields = Value::dict([
        ("attachments", Value::dict([])),
        ("code", Value::text("true")),
        ("interpreter", Value::text("/bin/sh")),
        ("time-limit", Value::Int(60)),
        ("username", Value::text(mark)),
    ]);
    let sql = "with made as ( \
                   insert into activity (computer_id, type, summary, fields) \
                   select id, 'execute-script', 'loadtest', $2 from computer \
                   where secure_id::text = $1 and accepted returning computer_id), \
               noted as ( \
                   insert into outbox (topic, subject) \
                   select 'activity.ordered', computer_id::text from made where exists ( \
                       select from outbox_relay where seen_at > now() - interval '600 s')) \
               select from made";
    let made = client.query(sql, &[&secure, &fields.write()]).await?;
    Ok(made.len() == 1)
}

/// Orders something of an instance of the host with this identity, under this number, which is a UUID. True where
/// there is such a host, and it is accepted.
///
/// # Errors
///
/// The database's.
pub async fn of_host(
    client: &Client,
    uid: &str,
    kind: &str,
    instance: &str,
    mark: &str,
) -> anyhow::Result<bool> {
    let sql = "with made as ( \
                   insert into wsl_command (request_id, host_uid, kind, instance_id) \
                   select $4::text::uuid, uid, $2, $3 from wsl_host \
                   where uid::text = $1 and accepted returning host_uid), \
               noted as ( \
                   insert into outbox (topic, subject) \
                   select 'host.ordered', host_uid::text from made where exists ( \
                       select from outbox_relay where seen_at > now() - interval '600 s')) \
               select from made";
    let made = client.query(sql, &[&uid, &kind, &instance, &mark]).await?;
    Ok(made.len() == 1)
}

/// A random UUID (RFC 9562, version 4).
pub fn uuid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    parts.map(|(from, to)| &hex[from..to]).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_says_its_version() {
        let one = uuid();
        assert_eq!((one.len(), &one[14..15]), (36, "4"), "{one}");
        assert!("89ab".contains(&one[19..20]), "{one}");
        assert_ne!(one, uuid());
    }
}
