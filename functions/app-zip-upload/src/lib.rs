//! `POST /api/storage/app-zip-upload`: stores an app's source as a ZIP (storage guide, "POST
//! /api/storage/app-zip-upload"). That it is one, and a harmless one, is the catalog's business: the object type takes
//! nothing else.

use lambda_http::http::Method;
use shared::app::App;
use shared::config::Needs;
use shared::http::{Answer, Call, Endpoint, Form, Route, store};
use shared::path::Place;
use shared::problem::Problem;

/// The endpoint.
pub const ENDPOINT: Endpoint = Endpoint {
    name: "app-zip-upload",
    needs: Needs::ENDPOINT.and_spaces(),
    routes: &[Route { method: Method::POST, path: "", handler: |app, call| Box::pin(handle(app, call)) }],
};

async fn handle(app: &App, mut call: Call) -> Result<Answer, Problem> {
    let form = Form::read(&mut call, &["org_id", "object_id"]).await?;
    let field = |name| form.required(name);
    let place = Place::parse(field("org_id")?, "app-builder", "source", field("object_id")?)?;
    store(app, &call, form, place).await
}
