//! `provision`: makes tables and buckets what the service needs, or says what it would make.
//!
//! It adds, and never removes or loosens: what cannot be had that way is refused, with the reason. What is as it should be is
//! left alone, so doing it again changes nothing.

mod archive;
mod bucket;
pub(crate) mod lifecycle;
mod tables;

use std::fmt;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

use crate::Stores;
use crate::stores::Refusal;

/// What would be changed, in the order in which it has to be.
#[derive(Debug, Default)]
pub struct Plan {
    steps: Vec<Step>,
    /// What is as it should be, or cannot be seen.
    notes: Vec<String>,
}

/// One change.
#[derive(Debug)]
struct Step {
    /// What is changed: `table file_records`.
    resource: String,
    /// For people.
    text: String,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Table(Box<tables::Change>),
    Bucket(bucket::Change),
    Archive(archive::Change),
    /// It cannot be done; the text says why.
    Refused,
}

impl Plan {
    /// Looks at everything. Changes nothing.
    ///
    /// # Errors
    /// A text, if a store does not tell.
    pub async fn make(stores: &Stores, origins: &[String]) -> Result<Self, String> {
        let mut plan = Self::default();
        bucket::plan(stores, origins, &mut plan).await?;
        archive::plan(stores, &mut plan).await?;
        tables::plan(stores, &mut plan).await?;
        Ok(plan)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether everything in it can be done.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step.action, Action::Refused))
    }

    /// Does what can be done, and says so step by step; what cannot is left as it is.
    ///
    /// # Errors
    /// The first step that failed, and why. Those before it are done.
    pub async fn apply(&self, stores: &Stores, mut done: impl FnMut(&str)) -> Result<(), String> {
        for Step { resource, text, action } in &self.steps {
            let applied = match action {
                Action::Table(change) => tables::apply(stores, change).await,
                Action::Bucket(change) => bucket::apply(stores, change).await.map(|()| true),
                Action::Archive(change) => archive::apply(stores, change).await.map(|()| true),
                Action::Refused => continue,
            };
            let word = match applied.map_err(|why| format!("{resource}: {text}: {why}"))? {
                true => "done",
                false => "not known to this store",
            };
            done(&format!("{word}: {resource}: {text}"));
        }
        Ok(())
    }

    fn step(&mut self, resource: &str, text: impl Into<String>, action: Action) {
        self.steps.push(Step { resource: resource.to_owned(), text: text.into(), action });
    }

    fn note(&mut self, resource: &str, text: &str) {
        self.notes.push(format!("{resource}: {text}"));
    }

    /// Says of a resource without steps that it is as it should be.
    fn settle(&mut self, resource: &str) {
        if !self.steps.iter().any(|step| step.resource == resource) {
            self.note(resource, "as it should be");
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        for Step { resource, text, action } in &self.steps {
            match action {
                Action::Refused => writeln!(f, "! {resource}: {text}")?,
                _ => writeln!(f, "+ {resource}: {text}")?,
            }
        }
        Ok(())
    }
}

/// Where a bucket has to be made, where its maker has to say it: at Amazon, but for its first region.
fn place(endpoint: Option<&str>, region: &str) -> Option<CreateBucketConfiguration> {
    let is_amazon = endpoint.is_none_or(|endpoint| endpoint.ends_with(".amazonaws.com"));
    let constraint = BucketLocationConstraint::from(region);
    let place = CreateBucketConfiguration::builder().location_constraint(constraint).build();
    (is_amazon && region != "us-east-1").then_some(place)
}

/// What a bucket has of something: none of it is `Some(None)`, and `None` that the store has no such thing.
fn configured<T, E: ProvideErrorMetadata>(
    answer: Result<T, aws_sdk_s3::error::SdkError<E>>,
) -> Result<Option<Option<T>>, Refusal> {
    match answer.map_err(Refusal::from) {
        Ok(answer) => Ok(Some(Some(answer))),
        Err(refusal) if refusal.is_missing() => Ok(Some(None)),
        Err(refusal) if refusal.is_unknown_operation() => Ok(None),
        Err(refusal) => Err(refusal),
    }
}
