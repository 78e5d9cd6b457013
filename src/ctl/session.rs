//! What a command that talks to members has at hand: settings, a client, the printer.
//!
//! Writes: stdout. Reads: matched arguments, the environment, the terminal for a password. Nothing is resolved before a command asks,
//! so that a command with wrong arguments says so first.

use std::{cell::OnceCell, io, io::Write, sync::Arc, time::Duration};

use clap::ArgMatches;

use super::{Failure, log, settings::Settings};
use crate::{
    client::{Auth, Client, Error, Options, tls},
    clock::{Clock, SystemClock},
    print::{self, Answer, Shown, Style},
};

pub struct Session<'a> {
    matches: &'a ArgMatches,
    clock: SystemClock,
    resolved: OnceCell<Resolved>,
}

struct Resolved {
    settings: Settings,
    style: Style,
    options: Options,
}

impl<'a> Session<'a> {
    pub fn new(matches: &'a ArgMatches) -> Session<'a> {
        Session { matches, clock: SystemClock::default(), resolved: OnceCell::new() }
    }

    /// Variables that this command knows beyond those of the global flags.
    pub fn resolve(&self, also_known: &[&str]) -> Result<(), Failure> {
        let settings = Settings::resolve(self.matches, &variables(), also_known)?;
        if settings.is_on("debug") {
            settings.lines().for_each(|line| eprintln!("{line}"));
        }
        let options = options(&settings)?;
        let style = Style { format: settings.format()?, hex: settings.is_on("hex"), value_only: false };
        let _ = self.resolved.set(Resolved { settings, style, options });
        Ok(())
    }

    fn resolved(&self) -> Result<&Resolved, Failure> {
        if self.resolved.get().is_none() {
            self.resolve(&[])?;
        }
        Ok(self.resolved.get().expect("just resolved"))
    }

    pub async fn client(&self) -> Result<Arc<Client>, Failure> {
        open(self.resolved()?.options.clone()).await
    }

    /// A client that knows this endpoint only.
    pub async fn client_to(&self, endpoint: &str) -> Result<Arc<Client>, Failure> {
        open(self.options_for(endpoint)?).await
    }

    pub fn options_for(&self, endpoint: &str) -> Result<Options, Failure> {
        Ok(Options { endpoints: vec![endpoint.to_owned()], ..self.resolved()?.options.clone() })
    }

    pub fn endpoints(&self) -> Result<Vec<String>, Failure> {
        Ok(self.resolved()?.options.endpoints.clone())
    }

    /// How long a short command may take.
    pub fn timeout(&self) -> Result<Option<Duration>, Failure> {
        Ok(Some(self.resolved()?.settings.duration("command-timeout")))
    }

    /// When a command that takes as long as it takes has to end, by `now`; None unless a timeout was asked for.
    pub fn deadline(&self) -> Result<Option<Duration>, Failure> {
        let settings = &self.resolved()?.settings;
        Ok(settings.is_set("command-timeout").then(|| self.now() + settings.duration("command-timeout")))
    }

    pub fn style(&self) -> Result<Style, Failure> {
        Ok(self.resolved()?.style)
    }

    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    pub fn print(&self, answer: Answer<'_>) -> Result<(), Failure> {
        print(self.style()?, answer)
    }
}

/// A line on stdout.
pub fn say(line: impl std::fmt::Display) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

pub fn print(style: Style, answer: Answer<'_>) -> Result<(), Failure> {
    match print::show(&mut io::stdout().lock(), style, answer)? {
        Shown::Yes => Ok(()),
        Shown::Unsupported => Err(Failure::bad_feature(format!("{} not supported as output format", style.format.name()))),
    }
}

pub async fn open(options: Options) -> Result<Arc<Client>, Failure> {
    Client::open(options).await.map_err(|error| match error {
        Error::Options(_) => Failure::bad_args(error),
        _ => Failure::bad_connection(error),
    })
}

/// Variables that are not text cannot name or set a flag.
fn variables() -> Vec<(String, String)> {
    let mut variables: Vec<_> = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    variables.sort();
    variables
}

fn options(settings: &Settings) -> Result<Options, Failure> {
    if !settings.text("discovery-srv").is_empty() {
        return Err(Failure::bad_args("--discovery-srv is not supported: name the members with --endpoints"));
    }
    let file = |name: &'static str| match settings.text(name) {
        "" if settings.is_given(name) => Err(Failure::bad_args(format!("empty string is passed to --{name} option"))),
        "" => Ok(None),
        path => Ok(Some(path.into())),
    };
    Ok(Options {
        endpoints: settings.endpoints(),
        dial_timeout: settings.duration("dial-timeout"),
        keepalive_time: settings.duration("keepalive-time"),
        keepalive_timeout: settings.duration("keepalive-timeout"),
        send_bytes_max: settings.size("max-request-bytes"),
        receive_bytes_max: settings.size("max-recv-bytes"),
        tls: tls::Options {
            cert: file("cert")?,
            key: file("key")?,
            ca: file("cacert")?,
            server_name: None,
            skip_verify: settings.is_on("insecure-skip-tls-verify"),
            force: !settings.is_on("insecure-transport"),
        },
        auth: auth(settings)?,
        notice: Some(|endpoint, reason| log::warn("no endpoint can be reached, trying on", &[("endpoint", endpoint), ("error", reason)])),
    })
}

fn auth(settings: &Settings) -> Result<Option<Auth>, Failure> {
    let [token, user, password] = ["auth-jwt-token", "user", "password"].map(|name| settings.text(name).to_owned());
    if !token.is_empty() {
        return Ok(Some(Auth::Token(token)));
    }
    password_auth("Password: ", &user, &password)
}

/// A name and its password, which `prompt` asks for if it was not given.
pub fn password_auth(prompt: &str, user: &str, password: &str) -> Result<Option<Auth>, Failure> {
    if user.is_empty() {
        return Ok(None);
    }
    let (user, password) = (user.to_owned(), password.to_owned());
    let (name, password) = match user.split_once(':') {
        _ if !password.is_empty() => (user, password),
        Some((name, password)) => (name.to_owned(), password.to_owned()),
        None => {
            let password = rpassword::prompt_password(prompt);
            (
                user,
                password.map_err(|e| {
                    Failure::general(format!("cannot ask for the password of --user: {e}; give it as --user name:password"))
                })?,
            )
        }
    };
    Ok(Some(Auth::Password { name, password }))
}
