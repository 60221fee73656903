//! The policies: who may do what, in Cedar's language, and the engine that decides by them.
//!
//! Knows how to ask Cedar. Does not know where a replacement's text was read, nor in which order a request is
//! checked: that is [`authorised`](super::authorised)'s.

use std::collections::{HashMap, HashSet};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Policy, PolicyId, PolicySet, Request, Response, RestrictedExpression, Schema, ValidationMode, Validator,
};

use super::{Action, DecidedBy, Fault, PolicyError, Principal, Target};

const DEFAULT_POLICIES: &str = include_str!("../../policies/default.cedar");
const SCHEMA: &str = include_str!("../../policies/storage.cedarschema");

/// A set of policies that was found to fit the schema. Made once at start: parsing takes milliseconds, a decision
/// some tens of microseconds.
///
/// - Each policy has an `@id` of its own, by which a denial names it.
/// - The strict validator has neither errors nor warnings: a policy that can never apply is a rule that its author
///   believes in and nobody follows.
/// - There are no templates, since nothing here would ever fill one in.
#[derive(Debug)]
pub struct Policies {
    set: PolicySet,
    authorizer: Authorizer,
    names: Names,
}

impl Policies {
    /// The policies that come with the service: `shared/policies/default.cedar`.
    ///
    /// # Errors
    /// None, as a test shows; it is [`Policies::parse`] of a text that is compiled in.
    pub fn default_set() -> Result<Self, PolicyError> {
        Self::parse(DEFAULT_POLICIES)
    }

    /// Policies of a deployment's own, instead of the default ones.
    ///
    /// # Errors
    /// [`PolicyError::Invalid`] with every fault that was found, its line and its policy. A text without any policy
    /// is one: it would refuse everything, which is what a file that was cut short on its way looks like.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let schema =
            Schema::from_cedarschema_str(SCHEMA).map_err(|error| PolicyError::Schema(error.to_string()))?.0;
        let parsed: PolicySet = text
            .parse()
            .map_err(|errors| PolicyError::Invalid(Fault::of_syntax(text, &DetailedError::from(&errors))))?;
        let (set, places) = named(text, &parsed).map_err(PolicyError::Invalid)?;
        validate(text, schema, &set, &places).map_err(PolicyError::Invalid)?;
        Ok(Self { set, authorizer: Authorizer::new(), names: Names::new()? })
    }

    /// One question to the policies.
    ///
    /// A policy that cannot be evaluated counts as a refusal. Cedar itself passes over it, which would drop a
    /// `forbid` without a word; strict validation leaves only the overflow of an integer to cause that.
    pub(super) fn decide(
        &self,
        principal: &Principal,
        action: Action,
        resource: &Resource<'_>,
    ) -> Result<(), DecidedBy> {
        let Some(response) = self.ask(principal, action, resource) else {
            return Err(DecidedBy::Failed(vec!["the request".to_owned()]));
        };
        let diagnostics = response.diagnostics();
        let failed: Vec<_> = diagnostics
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(error)| id_text(error.policy_id()))
            .collect();
        if !failed.is_empty() {
            return Err(DecidedBy::Failed(failed));
        }
        if response.decision() == Decision::Allow {
            return Ok(());
        }
        let mut ids: Vec<_> = diagnostics.reason().map(id_text).collect();
        ids.sort_unstable();
        Err(if ids.is_empty() { DecidedBy::Nothing } else { DecidedBy::Forbidden(ids) })
    }

    /// `None` if Cedar does not take the request. It has no reason to: the values are texts, which it takes all.
    fn ask(&self, principal: &Principal, action: Action, resource: &Resource<'_>) -> Option<Response> {
        let Names { user, role, file, log, action: action_type } = &self.names;
        // The resource's organisation is the caller's: see the module `auth` for why.
        let org = ("org", principal.org().as_str());

        let user = uid(user, principal.sub());
        let roles = principal.roles().iter().map(|name| uid(role, name)).collect();
        let caller = Entity::new(user.clone(), texts(&[org, ("sub", principal.sub())]), roles).ok()?;

        let (type_name, attributes) = match resource {
            Resource::File { system, object_type, owner } => {
                let attributes = [org, ("system", system), ("object_type", object_type), ("owner", owner)];
                (file, texts(&attributes))
            }
            Resource::Log => (log, texts(&[org])),
        };
        let resource = uid(type_name, "this one");
        let object = Entity::new(resource.clone(), attributes, HashSet::new()).ok()?;

        let entities = Entities::from_entities([caller, object], None).ok()?;
        let action = uid(action_type, action.name());
        let request = Request::new(user, action, resource, Context::empty(), None).ok()?;
        Some(self.authorizer.is_authorized(&request, &self.set, &entities))
    }
}

/// What a question is about.
pub(super) enum Resource<'a> {
    File { system: &'a str, object_type: &'a str, owner: &'a str },
    Log,
}

impl<'a> Resource<'a> {
    pub(super) fn file(target: &'a impl Target, owner: &'a str) -> Self {
        Self::File { system: target.system(), object_type: target.object_type(), owner }
    }
}

/// The schema's types, parsed once.
#[derive(Debug)]
struct Names {
    user: EntityTypeName,
    role: EntityTypeName,
    file: EntityTypeName,
    log: EntityTypeName,
    action: EntityTypeName,
}

impl Names {
    fn new() -> Result<Self, PolicyError> {
        let name = |text: &str| text.parse().map_err(|_| PolicyError::Schema(format!("{text} is no name")));
        Ok(Self {
            user: name("Storage::User")?,
            role: name("Storage::Role")?,
            file: name("Storage::File")?,
            log: name("Storage::Log")?,
            action: name("Storage::Action")?,
        })
    }
}

fn uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

fn texts(attributes: &[(&str, &str)]) -> HashMap<String, RestrictedExpression> {
    let attribute = |(name, value): &(&str, &str)| {
        ((*name).to_owned(), RestrictedExpression::new_string((*value).to_owned()))
    };
    attributes.iter().map(attribute).collect()
}

/// The same policies under their `@id`s, by which Cedar then reports, and where each begins in the text.
fn named(text: &str, parsed: &PolicySet) -> Result<(PolicySet, HashMap<PolicyId, usize>), Vec<Fault>> {
    let mut set = PolicySet::new();
    let mut places = HashMap::new();
    let mut faults = Vec::new();
    let mut searched = HashMap::new();
    let mut place = |source: String| {
        // Two policies may have the same text, so the next search for it goes on behind this one.
        let from: &mut usize = searched.entry(source.clone()).or_default();
        let found = text.get(*from..).and_then(|rest| rest.find(&source)).map_or(0, |at| *from + at);
        *from = found + source.len();
        found
    };
    for policy in parsed.policies() {
        let offset = place(policy.to_string());
        let Some(id) = id(policy) else {
            faults.push(Fault::at(
                text,
                offset,
                None,
                "the policy has no @id(\"…\"), by which a denial would name it",
            ));
            continue;
        };
        if set.add(policy.new_id(PolicyId::new(id))).is_err() {
            faults.push(Fault::at(text, offset, Some(id.to_owned()), "another policy has this @id"));
        }
        places.insert(PolicyId::new(id), offset);
    }
    for template in parsed.templates() {
        let offset = place(template.to_string());
        let id = template.annotation("id").map(str::to_owned);
        faults.push(Fault::at(text, offset, id, "a template (?principal, ?resource) would never apply"));
    }
    if faults.is_empty() && set.is_empty() {
        faults.push(Fault::at(text, text.len(), None, "there is no policy, so everything would be refused"));
    }
    if faults.is_empty() { Ok((set, places)) } else { Err(faults) }
}

fn id_text(id: &PolicyId) -> String {
    let text: &str = id.as_ref();
    text.to_owned()
}

fn id(policy: &Policy) -> Option<&str> {
    policy.annotation("id").filter(|id| !id.is_empty() && !id.chars().any(char::is_control))
}

fn validate(
    text: &str,
    schema: Schema,
    set: &PolicySet,
    places: &HashMap<PolicyId, usize>,
) -> Result<(), Vec<Fault>> {
    let fault = |id: &PolicyId, error: &DetailedError| {
        let place = places.get(id).copied().unwrap_or_default();
        Fault::of_schema(text, place, id.as_ref(), error)
    };
    let result = Validator::new(schema).validate(set, ValidationMode::Strict);
    let mut faults = Vec::new();
    let mut faulty = HashSet::new();
    for error in result.validation_errors() {
        faulty.insert(error.policy_id());
        faults.push(fault(error.policy_id(), &error.into()));
    }
    // After an error, "this can never apply" is its consequence and would only hide it.
    for warning in result.validation_warnings().filter(|warning| !faulty.contains(warning.policy_id())) {
        faults.push(fault(warning.policy_id(), &warning.into()));
    }
    faults.sort_by_key(|fault| fault.line);
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

#[cfg(test)]
mod tests;
