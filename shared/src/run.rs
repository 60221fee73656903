//! A function's process: configuration, clients, then one request after another.

use std::convert::Infallible;
use std::process::ExitCode;

use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};

use crate::app::{App, StartError};
use crate::config::{Config, ConfigError, LogConfig};
use crate::http::{Configured, Endpoint, Event, Reply};
use crate::logs;

/// Runs an endpoint on Lambda, or on whatever offers Lambda's runtime API.
///
/// A function whose configuration is incomplete starts all the same and says so to its callers ("Storage service not
/// properly configured"), so that the reason is found in the log and not in a failed deployment. One whose policies or
/// token settings are wrong does not start; why stands in the log, too.
pub async fn run(endpoint: Endpoint) -> ExitCode {
    logs::init(&LogConfig::from_env());
    let app = match configure(Config::from_env()) {
        Ok(app) => app,
        Err(error) => {
            tracing::error!(reason = %error, "the function does not start");
            return ExitCode::FAILURE;
        }
    };
    match serve(&endpoint, &app).await {
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
        Ok::<_, Infallible>(Reply::from(endpoint.serve(app, request).await))
    }))
    .await
}

fn configure(config: Result<Config, ConfigError>) -> Result<Configured, StartError> {
    match config {
        Ok(config) => App::new(&config).map(Ok),
        Err(error) => {
            tracing::error!(reason = %error, "Storage service not properly configured");
            Ok(Err(error))
        }
    }
}
