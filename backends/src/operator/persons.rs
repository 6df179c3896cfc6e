//! Who is let in? Accounts, persons with their passwords, and access keys.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;

use super::{Ground, told};
use crate::domain::password;
use crate::domain::person::{FIRST_ACCOUNT, Role};
use crate::domain::repository::{NAME_CHARS_MAX, is_plain};
use crate::service::access_key::make as make_key;
use crate::store::{self, person};

/// Longest e-mail address and name, characters.
const CHARS_MAX: usize = 255;

/// The words of the verb.
#[derive(Debug, Args)]
pub struct Person {
    /// Names the person
    email: String,
    /// For people; the address, if nothing else is said
    #[arg(long)]
    name: Option<String>,
    /// viewer, operator or administrator
    #[arg(long, default_value = "administrator", value_parser = role)]
    role: Role,
    /// The account, `standalone` if nothing else is said; nobody leaves theirs
    #[arg(long)]
    account: Option<String>,
    /// Read the password from this file in place of standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

fn role(name: &str) -> Result<Role, String> {
    let names: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
    Role::of(name).ok_or_else(|| format!("it is one of {}", names.join(", ")))
}

impl Person {
    /// The password that was given.
    ///
    /// # Errors
    ///
    /// There is none, or it is too short or too long.
    pub fn password(&self) -> Result<String, String> {
        let text = match &self.password_file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|cause| format!("{}: {cause}", file.display()))?,
            None => {
                let mut text = String::new();
                let mut input = std::io::stdin().take(password::BYTES_MAX as u64 + 3);
                let read = input.read_to_string(&mut text);
                read.map_err(|cause| format!("standard input: {cause}"))?;
                text
            }
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.chars().count() < password::CHARS_MIN {
            return Err(format!(
                "a password has at least {} characters; it is read from standard input",
                password::CHARS_MIN
            ));
        }
        match text.len() <= password::BYTES_MAX {
            true => Ok(text.to_owned()),
            false => Err(format!(
                "a password has at most {} bytes",
                password::BYTES_MAX
            )),
        }
    }
}

/// What is said of an account.
#[derive(Debug, Args)]
pub struct Account {
    /// By which computers, persons and repositories name it: letters, digits and `+ - . _ ~`
    name: String,
    /// For people; the name, if nothing else is said
    #[arg(long)]
    title: Option<String>,
    /// Does the registration key make a computer or a WSL host count at once (as at first)? With `off` an
    /// administrator accepts it
    #[arg(long, value_name = "on|off", value_parser = switch)]
    auto_accept: Option<bool>,
    /// How many computers, and how many WSL hosts, may wait to be accepted; 1000 at first
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    pending_max: Option<i32>,
}

fn switch(word: &str) -> Result<bool, String> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it is on or off".to_owned()),
    }
}

/// Makes an account, or changes what is said of one.
pub async fn account(ground: &Ground, wanted: &Account) -> Result<String, String> {
    let (name, title) = (&wanted.name, wanted.title.as_deref());
    // It stands in paths of repositories and of secrets.
    if !is_plain(name) {
        return Err(format!(
            "`{name}` is no name of an account: letters, digits and + - . _ ~, beginning with a \
             letter or a digit, {NAME_CHARS_MAX} at most"
        ));
    }
    let fits = |title: &str| (1..=CHARS_MAX).contains(&title.trim().chars().count());
    if title.is_some_and(|title| !fits(title)) {
        return Err(format!("a title has 1 to {CHARS_MAX} characters"));
    }
    let mut connection = ground.store.connection().await.map_err(told)?;
    let tx = store::begin(&mut connection).await.map_err(told)?;
    let new = store::account::put(&tx, name, title.map(str::trim)).await;
    let new = new.map_err(told)?;
    let (auto_accept, pending_max) = (wanted.auto_accept, wanted.pending_max);
    let now = store::account::allow(&tx, name, auto_accept, pending_max).await;
    let now = now.map_err(told)?;
    let now = now.ok_or_else(|| format!("there is no account {name}"))?;
    store::commit(tx).await.map_err(told)?;
    let mut said = match (new, title) {
        (true, _) => format!("schema: account {name} is there"),
        (false, Some(_)) => format!("schema: account {name} has another title"),
        (false, None) => format!("schema: account {name} was there already"),
    };
    if auto_accept.is_some() || pending_max.is_some() {
        let with_the_key = match now.auto_accept {
            true => "at once",
            false => "when an administrator accepts it",
        };
        let more = format!(
            "\nschema: who registers with its key counts {with_the_key}; {} may wait",
            now.pending_max
        );
        said.push_str(&more);
    }
    Ok(said)
}

/// Makes a person, or sets the password of one who is there.
pub async fn make(ground: &Ground, told_of: &Person, password: &str) -> Result<String, String> {
    let email = told_of.email.trim();
    let name = told_of.name.as_deref().unwrap_or(email);
    let long = email.chars().count() > CHARS_MAX || name.chars().count() > CHARS_MAX;
    if email.is_empty() || long {
        return Err(format!(
            "an address and a name have 1 to {CHARS_MAX} characters"
        ));
    }
    let hash = password::hash(password).ok_or("no randomness")?;
    let mut connection = ground.store.connection().await.map_err(told)?;
    let tx = store::begin(&mut connection).await.map_err(told)?;
    let said = match person::by_email(&tx, email).await.map_err(told)? {
        Some(known) => {
            let is = &known.person.account_name;
            if told_of.account.as_ref().is_some_and(|told| told != is) {
                return Err(format!("{email} is of the account {is} and stays there"));
            }
            let set = person::set_password(&tx, &known.person, &hash).await;
            set.map_err(told)?;
            format!("schema: {email} has another password; what was signed in is not any more")
        }
        None => {
            let account = told_of.account.as_deref().unwrap_or(FIRST_ACCOUNT);
            let role = told_of.role;
            let made = person::make(&tx, account, email, name, role, Some(&hash)).await;
            let made = made.map_err(told)?;
            made.ok_or_else(|| format!("there is no account {account}"))?;
            format!("schema: {email} may sign in as {}", role.name())
        }
    };
    store::commit(tx).await.map_err(told)?;
    Ok(said)
}

/// Makes an access key, and prints it as variables of the public client.
pub async fn access_key(ground: &Ground, email: &str, title: &str) -> Result<String, String> {
    let person = {
        let mut connection = ground.store.connection().await.map_err(told)?;
        let tx = store::begin(&mut connection).await.map_err(told)?;
        person::by_email(&tx, email).await.map_err(told)?
    };
    let person = person
        .ok_or_else(|| format!("there is no person {email}"))?
        .person;
    let made = make_key(&ground.store, &ground.secrets, person.id, title).await;
    let made = made
        .map_err(told)?
        .ok_or("there are too many access keys of theirs")?;
    Ok(format!(
        "LANDSCAPE_API_KEY={}\nLANDSCAPE_API_SECRET={}",
        made.access_key, made.secret_key
    ))
}
