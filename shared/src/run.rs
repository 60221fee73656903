//! A function's process: configuration, clients, then one request after another.

use std::convert::Infallible;
use std::process::ExitCode;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};
use serde_json::Value;

use crate::app::{self, App, StartError};
use crate::clock::Deadline;
use crate::config::{Config, LoadError, LogConfig, Needs};
use crate::http::{Configured, Endpoint, Event, Reply};
use crate::metrics::Metric;
use crate::{logs, metrics};

/// Runs an endpoint on Lambda, or on whatever offers Lambda's runtime API.
///
/// A function whose configuration is incomplete starts all the same and says so to its callers ("Storage service not
/// properly configured"), so that the reason is found in the log and not in a failed deployment. One whose policies or
/// token settings are wrong, or whose secrets cannot be read now, does not start; why stands in the log, too.
pub async fn run(endpoint: Endpoint) -> ExitCode {
    observe(endpoint.name);
    match configure(endpoint.needs).await {
        Ok(app) => ended(serve(&endpoint, &app).await),
        Err(error) => not_started(&error),
    }
}

/// Work that no caller waits for: a schedule asks for it, or a table's stream.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// The function's name.
    pub name: &'static str,
    /// The secrets that it works with.
    pub needs: Needs,
    /// Does what an event asks for, until the deadline at most, and says what came of it. That stands in the log, too. What
    /// fails is asked for again.
    pub run: for<'a> fn(&'a App, Value, Deadline) -> BoxFuture<'a, Result<Value, String>>,
}

/// Runs a task on Lambda, once for every event. What it answers is the function's result.
///
/// One whose configuration is incomplete starts all the same, as [`run`] does, and fails each time.
pub async fn run_scheduled(task: Task) -> ExitCode {
    observe(task.name);
    match configure(task.needs).await {
        Ok(app) => ended(serve_task(task, &app).await),
        Err(error) => not_started(&error),
    }
}

async fn serve_task(task: Task, app: &Configured) -> Result<(), Error> {
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let result = match app {
            Ok(app) => do_task(task, app, event).await,
            Err(_) => {
                metrics::count(Metric::NotConfigured);
                Err("Storage service not properly configured".into())
            }
        };
        metrics::flush();
        result.map_err(Error::from)
    }))
    .await
}

async fn do_task(task: Task, app: &App, event: LambdaEvent<Value>) -> Result<Value, String> {
    let end = i64::try_from(event.context.deadline).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let result = (task.run)(app, event.payload, Deadline::for_task(end.unwrap_or_default())).await;
    match &result {
        Ok(result) => tracing::info!(task = task.name, %result, "done"),
        Err(reason) => tracing::error!(task = task.name, reason, "failed"),
    }
    result
}

/// Begins to log and, where logs are for programs, to measure.
fn observe(function: &'static str) {
    let config = LogConfig::from_env();
    logs::init(&config);
    if config.json {
        metrics::init(function, config.metrics_namespace);
    }
}

fn not_started(error: &StartError) -> ExitCode {
    tracing::error!(reason = %error, "the function does not start");
    ExitCode::FAILURE
}

fn ended(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(reason = %error, "the function ends: no runtime API");
            ExitCode::FAILURE
        }
    }
}

async fn serve(endpoint: &Endpoint, app: &Configured) -> Result<(), Error> {
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Event>| {
        let request = event.payload.into_request(event.context);
        let reply = Reply::from(endpoint.serve(app, request).await);
        metrics::flush();
        Ok::<_, Infallible>(reply)
    }))
    .await
}

async fn configure(needs: Needs) -> Result<Configured, StartError> {
    let http = app::connection_pool();
    match Config::from_env(needs, http.clone()).await {
        Ok(config) => App::with_pool(&config, http).map(Ok),
        Err(LoadError::Wrong(error)) => {
            tracing::error!(reason = %error, "Storage service not properly configured");
            Ok(Err(error))
        }
        // Lambda starts the function anew with the next request.
        Err(LoadError::Unavailable(text)) => Err(StartError::Secrets(text)),
    }
}
