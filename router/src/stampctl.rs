//! The operator's command line: everything that the router's API can do, as tables for people or JSON for programs.

mod follow;
mod options;
mod plans;
mod show;
mod simulate;
mod table;
mod top;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use http::Method;
use serde_json::{Value, json};

use crate::client::{Client, ClientError, ClientOptions};
use options::{Audit, Migration, Node, Options, Output, Registry, Stamp, Verb};

/// It did what was asked.
const DONE: u8 = 0;
/// The router could not be asked, or failed.
const FAILED: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;
/// A rule is against it, or it does not exist. Nothing was changed.
const REFUSED: u8 = 3;

/// Runs the command line of `arguments`, the first of which is the program's name.
pub fn main_with_args(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return ExitCode::from(if asked { DONE } else { USAGE });
        }
    };
    if let Verb::Simulate(args) = &options.verb {
        return ExitCode::from(simulate::run(args, options.output));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("stampctl: the system gives no runtime: {error}");
            return ExitCode::from(FAILED);
        }
    };
    match runtime.block_on(run(&options)) {
        Ok(()) => ExitCode::from(DONE),
        Err(error) => {
            eprintln!("stampctl: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Why it did not do what was asked.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Ended(String),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
    #[error("{path}: {why}", path = path.display())]
    File { path: PathBuf, why: String },
}

impl CommandError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Refused { .. }) | Self::Ended(_) => REFUSED,
            Self::Client(_) | Self::Output(_) => FAILED,
            Self::File { .. } => USAGE,
        }
    }
}

/// The conductor: each verb is one request, or one that is followed.
async fn run(options: &Options) -> Result<(), CommandError> {
    let client = Client::new(&ClientOptions {
        router: options.router.clone(),
        token_file: options.token_file.clone(),
        ca_file: options.ca_file.clone(),
        actor: std::env::var("USER").unwrap_or_else(|_| "somebody".into()),
    })?;
    let (read, changed) =
        (Show { client: &client, output: options.output }, Change { client: &client, options });
    match &options.verb {
        Verb::Status => read.value("/v1/status", show::facts).await,
        Verb::Top { pool } => {
            let query = pool.as_ref().map(|pool| format!("?pool={pool}")).unwrap_or_default();
            read.value(&format!("/v1/signals{query}"), top::top).await
        }
        Verb::Audit { verb: Some(Audit::Verify), .. } => {
            let verdict = client.get("/v1/audit/verdict").await?;
            match options.output {
                Output::Json => show::json(&verdict)?,
                Output::Table => show::text(&show::verdict(&verdict))?,
            }
            match verdict["broken"].as_array().map_or(0, Vec::len) {
                0 => Ok(()),
                places => Err(CommandError::Ended(format!("the audit is broken in {places} places"))),
            }
        }
        Verb::Audit { at, verb: None } => {
            let query = at.map(|at| format!("?at={at}")).unwrap_or_default();
            read.value(&format!("/v1/audit{query}"), show::audit).await
        }
        Verb::Export => {
            let export = client.get("/v1/export").await?;
            show::json(&export)
        }
        Verb::Stamp(verb) => stamp(verb, read, changed).await,
        Verb::Node(verb) => node(verb, read, changed).await,
        Verb::Registry(verb) => registry(verb, read, changed).await,
        Verb::Migration(verb) => migration(verb, read, changed).await,
        Verb::Plan(verb) => plans::plan(verb, read, changed).await,
        Verb::Explain(verb) => plans::explain(verb, read).await,
        Verb::Apply { id, hash, until_phase } => {
            plans::apply(id, hash.as_deref(), *until_phase, read, changed).await
        }
        Verb::Freeze(verb) => plans::freeze(verb, read, changed).await,
        Verb::Policy(verb) => plans::policy(verb, read, changed).await,
        // It asks no router, and is done before there is a client.
        Verb::Simulate(_) => Ok(()),
    }
}

async fn stamp(verb: &Stamp, read: Show<'_>, change: Change<'_>) -> Result<(), CommandError> {
    let put = |name: &dyn std::fmt::Display, body| {
        change.ask(Method::PUT, format!("/v1/stamps/{name}"), Some(body))
    };
    match verb {
        Stamp::Ls => read.value("/v1/stamps", show::stamps).await,
        Stamp::Create { name, accounts } => put(name, json!({"accounts": accounts})).await.map(drop),
        Stamp::Cordon { name } => put(name, json!({"state": "cordoned"})).await.map(drop),
        Stamp::Uncordon { name } => put(name, json!({"state": "active"})).await.map(drop),
        Stamp::Restart { name, max_unavailable, deadline, back, settle, watch, pause, resume, abort } => {
            let steered = [(pause, "pause"), (resume, "resume"), (abort, "abort")];
            let verb = steered.into_iter().find(|(is_asked, _)| **is_asked).map(|(_, verb)| verb);
            let seconds = |time: &Option<std::time::Duration>| time.map(|time| time.as_secs());
            let body = verb.is_none().then(|| {
                let said = [
                    ("max_unavailable", max_unavailable.map(u64::from)),
                    ("deadline_seconds", seconds(deadline)),
                    ("back_seconds", seconds(back)),
                    ("settle_seconds", seconds(settle)),
                ];
                let said =
                    said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
                Value::Object(said.collect())
            });
            let path = format!("/v1/stamps/{name}/restart");
            let asked = verb.map_or_else(|| path.clone(), |verb| format!("{path}/{verb}"));
            change.ask(Method::POST, asked, body).await?;
            if *watch && !change.options.dry_run {
                follow::restart(read.client, read.output, &path).await?;
            }
            Ok(())
        }
        Stamp::ShowRestart { name } => read.value(&format!("/v1/stamps/{name}/restart"), show::restart).await,
        Stamp::Retire { name } => put(name, json!({"state": "retired"})).await.map(drop),
        Stamp::Evacuate { name, to, terms } => {
            let registries = read.client.get("/v1/registries").await?;
            let bound = registries
                .as_array()
                .into_iter()
                .flatten()
                .filter(|registry| registry["home_stamp"].as_str() == Some(name.as_str()));
            let names: Vec<&str> = bound.filter_map(|registry| registry["registry"].as_str()).collect();
            if names.is_empty() {
                eprintln!("no registry is bound to stamp {name}");
            }
            let mut refused = Vec::new();
            for registry in names {
                let body = json!({"to": to, "terms": terms.json()});
                let asked =
                    change.ask(Method::POST, format!("/v1/registries/{registry}/move"), Some(body)).await;
                // One that cannot be moved keeps none of the others.
                match asked {
                    Ok(_) => {}
                    Err(CommandError::Client(ClientError::Refused { message, .. })) => {
                        refused.push(format!("{registry}: {message}"));
                    }
                    Err(error) => return Err(error),
                }
            }
            if refused.is_empty() { Ok(()) } else { Err(CommandError::Ended(refused.join("\n"))) }
        }
    }
}

async fn node(verb: &Node, read: Show<'_>, change: Change<'_>) -> Result<(), CommandError> {
    let wish = |name: &dyn std::fmt::Display, body| {
        change.ask(Method::PUT, format!("/v1/nodes/{name}/intent"), Some(body))
    };
    match verb {
        Node::Ls => read.value("/v1/nodes", show::nodes).await,
        Node::Show { name } => read.value(&format!("/v1/nodes/{name}"), show::facts).await,
        Node::Cordon { name } => wish(name, json!({"do": "cordon"})).await.map(drop),
        Node::Uncordon { name } => wish(name, json!({"do": "uncordon"})).await.map(drop),
        Node::Drain { name, deadline } => {
            wish(name, json!({"do": "drain", "deadline_seconds": deadline.as_secs()})).await.map(drop)
        }
        Node::Forget { name } => {
            change.ask(Method::DELETE, format!("/v1/nodes/{name}"), None).await.map(drop)
        }
    }
}

async fn registry(verb: &Registry, read: Show<'_>, change: Change<'_>) -> Result<(), CommandError> {
    match verb {
        Registry::Ls => read.value("/v1/registries", show::registries).await,
        Registry::Show { name } => read.value(&format!("/v1/registries/{name}"), show::facts).await,
        Registry::Bind { name, to, account, container, prefix, anonymous } => {
            let path = format!("/v1/registries/{name}");
            // What is not said of one that is there stays as it is.
            let mut body = match read.client.get(&path).await {
                Ok(known) => ["placement", "pull", "delivery", "hosts"]
                    .into_iter()
                    .filter(|part| !known[part].is_null())
                    .map(|part| (part.to_owned(), known[part].clone()))
                    .collect::<serde_json::Map<String, Value>>()
                    .into(),
                Err(ClientError::Refused { rule, .. }) if rule == "registry" => {
                    json!({"placement": {"container": name}})
                }
                Err(error) => return Err(error.into()),
            };
            body["home_stamp"] = json!(to);
            body["placement"]["account"] = json!(account);
            for (part, said) in [("container", container), ("prefix", prefix)] {
                if let Some(said) = said {
                    body["placement"][part] = json!(said);
                }
            }
            if *anonymous {
                body["pull"] = json!("anonymous");
            }
            change.ask(Method::PUT, path, Some(body)).await.map(drop)
        }
        Registry::Remove { name } => {
            change.ask(Method::DELETE, format!("/v1/registries/{name}"), None).await.map(drop)
        }
        Registry::Move { name, to, terms, watch } => {
            let body = json!({"to": to, "terms": terms.json()});
            let moved = change.ask(Method::POST, format!("/v1/registries/{name}/move"), Some(body)).await?;
            match moved["migration"].as_str() {
                Some(id) if *watch && !change.options.dry_run => {
                    follow::follow(read.client, read.output, id).await
                }
                _ => Ok(()),
            }
        }
        Registry::Pin { name } => {
            change.ask(Method::PUT, format!("/v1/registries/{name}/pin"), None).await.map(drop)
        }
        Registry::Unpin { name } => {
            change.ask(Method::DELETE, format!("/v1/registries/{name}/pin"), None).await.map(drop)
        }
        Registry::Purge { name, repository, digest } => {
            let body = json!({"repository": repository, "digest": digest});
            change.ask(Method::POST, format!("/v1/registries/{name}/purge"), Some(body)).await.map(drop)
        }
    }
}

async fn migration(verb: &Migration, read: Show<'_>, change: Change<'_>) -> Result<(), CommandError> {
    let (id, verb) = match verb {
        Migration::Ls => return read.value("/v1/migrations", show::migrations).await,
        Migration::Show { id } => return read.value(&format!("/v1/migrations/{id}"), show::migration).await,
        Migration::Watch { id } => return follow::follow(read.client, read.output, id).await,
        Migration::Pause { id } => (id, "pause"),
        Migration::Resume { id } => (id, "resume"),
        Migration::Abort { id } => (id, "abort"),
        Migration::Rollback { id } => (id, "rollback"),
        Migration::Finish { id } => (id, "finish"),
    };
    change.ask(Method::POST, format!("/v1/migrations/{id}/{verb}"), None).await.map(drop)
}

/// Shows what there is.
#[derive(Clone, Copy)]
struct Show<'c> {
    client: &'c Client,
    output: Output,
}

impl Show<'_> {
    async fn value(self, path: &str, table: fn(&Value) -> String) -> Result<(), CommandError> {
        let value = self.client.get(path).await?;
        match self.output {
            Output::Json => show::json(&value),
            Output::Table => show::text(&table(&value)),
        }
    }
}

/// Asks for a change, and says what came of it.
#[derive(Clone, Copy)]
struct Change<'c> {
    client: &'c Client,
    options: &'c Options,
}

impl Change<'_> {
    async fn ask(self, method: Method, path: String, body: Option<Value>) -> Result<Value, CommandError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.options.reason.is_empty() {
            query.append_pair("reason", &self.options.reason);
        }
        if self.options.dry_run {
            query.append_pair("dry_run", "true");
        }
        if let Some(epoch) = self.options.if_epoch {
            query.append_pair("if_epoch", &epoch.to_string());
        }
        let path = format!("{path}?{}", query.finish());
        let changed = self.client.send(method, &path, body).await?;
        match self.options.output {
            Output::Json => show::json(&changed)?,
            Output::Table => show::text(&show::changed(&changed, self.options.dry_run))?,
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests;
