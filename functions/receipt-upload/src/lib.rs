//! `POST /api/storage/receipt-upload`: stores a receipt (storage guide, "POST /api/storage/receipt-upload").

use lambda_http::http::Method;
use shared::app::App;
use shared::config::Needs;
use shared::http::{Answer, Call, Endpoint, Form, Route, store};
use shared::path::Place;
use shared::problem::Problem;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint {
    name: "receipt-upload",
    needs: Needs::ENDPOINT.and_spaces(),
    routes: &[Route { method: Method::POST, path: "", handler: |app, call| Box::pin(handle(app, call)) }],
};

async fn handle(app: &App, mut call: Call) -> Result<Answer, Problem> {
    let form = Form::read(&mut call, &["org_id", "object_id"]).await?;
    let field = |name| form.required(name);
    let place = Place::parse(field("org_id")?, "accounting", "receipt", field("object_id")?)?;
    store(app, &call, form, place).await
}
