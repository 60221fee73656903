//! The function's process.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    shared::run_scheduled(maintenance::TASK).await
}
