//! The whole service in one process: an embedded S3, an embedded DynamoDB, and every function behind a gateway that
//! speaks to them as Lambda's function URLs do. For development and tests; nothing of this is deployed.

mod admin;
pub mod data;
mod docs;
pub mod event;
pub mod gateway;
pub mod sealing;
pub mod spaces;
pub mod stack;
pub mod stream;
pub mod token;
