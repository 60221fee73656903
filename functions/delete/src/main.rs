//! The function's process.

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    shared::run(delete::ENDPOINT).await
}
