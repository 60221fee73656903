//! The function's process.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    shared::run_scheduled(seal::TASK).await
}
