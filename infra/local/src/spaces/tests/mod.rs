//! The store over loopback, driven by the clients that will use it: the AWS SDK and plain presigned requests.

mod cors;
mod harness;
mod listing;
mod multipart;
mod objects;
mod parts;
mod presigned;
mod server;
