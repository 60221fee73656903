//! The authorised value: what a handler needs in order to act, and cannot make itself.
//!
//! Knows which rights there are and in which order they are decided, not what the policies say.

use std::marker::PhantomData;

use super::policy::Resource;
use super::{Denial, Policies, Principal};

/// What somebody may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Store a new file.
    Upload,
    /// See what is recorded about a file.
    ReadMetadata,
    /// Get a signed URL to a file.
    Sign,
    /// Hide a file.
    Delete,
    /// Remove a file for good.
    Purge,
    /// Read the audit log.
    ReadLog,
    /// Take a copy of the audit log out.
    ExportLog,
}

impl Action {
    /// The action's name in the policies and their schema.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::ReadMetadata => "readMetadata",
            Self::Sign => "sign",
            Self::Delete => "delete",
            Self::Purge => "purge",
            Self::ReadLog => "readLog",
            Self::ExportLog => "exportLog",
        }
    }
}

/// A right as a type. There are those below and no others.
pub trait Right: sealed::Sealed {
    /// What the right allows.
    const ACTION: Action;
}

/// A right on a file that exists, decided in two phases: see [`Policies::consider`].
pub trait RecordRight: Right {}

/// A right on the audit log of the caller's organisation.
pub trait LogRight: Right {}

/// What of a place in the storage the policies look at: a path, or the fields of an upload form.
pub trait Target {
    /// The part of the suite.
    fn system(&self) -> &str;
    /// The kind of file within the system.
    fn object_type(&self) -> &str;
}

impl<T: Target + ?Sized> Target for &T {
    fn system(&self) -> &str {
        (**self).system()
    }

    fn object_type(&self) -> &str {
        (**self).object_type()
    }
}

/// The target of a [`LogRight`]: the audit log of the caller's organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log;

/// The proof that this caller may do `R` to this target, and nothing is left to decide.
///
/// **Invariant:** whatever changes a file, signs a URL, or shows a record or the log takes one of these.
///
/// It cannot be made by hand:
/// ```compile_fail,E0451
/// # use shared::auth::*;
/// fn forge(principal: Principal) -> Authorised<ReadLog, Log> {
///     Authorised { principal, target: Log, right: std::marker::PhantomData }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Authorised<R, T> {
    principal: Principal,
    target: T,
    right: PhantomData<fn() -> R>,
}

impl<R, T> Authorised<R, T> {
    /// Who acts.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// On what.
    #[must_use]
    pub fn target(&self) -> &T {
        &self.target
    }

    /// Both, when the right has been used.
    #[must_use]
    pub fn into_parts(self) -> (Principal, T) {
        (self.principal, self.target)
    }
}

/// The first of two phases is passed: the record may be read, in order to decide the second.
///
/// It is not the proof, and does not pass for it:
/// ```compile_fail,E0308
/// # use shared::auth::*;
/// fn sign<T>(proof: Authorised<Sign, T>) {}
/// fn skip<T>(undecided: Provisional<Sign, T>) {
///     sign(undecided);
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use = "the record's owner is not decided yet"]
pub struct Provisional<R, T>(Authorised<R, T>);

impl<R: RecordRight, T: Target> Provisional<R, T> {
    /// Who wants to act.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        self.0.principal()
    }

    /// On what.
    #[must_use]
    pub fn target(&self) -> &T {
        self.0.target()
    }

    /// The second phase: decides with the owner of the record that was read, after it was found to belong to the
    /// caller's organisation.
    ///
    /// # Errors
    /// [`Denial`] if the policies do not let this caller do this to a file of that owner.
    pub fn confirm(self, policies: &Policies, owner: &str) -> Result<Authorised<R, T>, Denial> {
        let Authorised { principal, target, .. } = &self.0;
        let resource = Resource::file(target, owner);
        match policies.decide(principal, R::ACTION, &resource) {
            Ok(()) => Ok(self.0),
            Err(by) => {
                let others = owner != principal.sub();
                Err(Denial::new(principal, R::ACTION, Some(target.system()), others, by))
            }
        }
    }
}

impl Policies {
    /// Whether the caller may store a file there. One phase: its owner is the caller.
    ///
    /// # Errors
    /// [`Denial`] if not.
    pub fn authorise_upload<T: Target>(
        &self,
        principal: &Principal,
        target: T,
    ) -> Result<Authorised<Upload, T>, Denial> {
        match self.decide(principal, Action::Upload, &Resource::file(&target, principal.sub())) {
            Ok(()) => Ok(authorised(principal, target)),
            Err(by) => Err(Denial::new(principal, Action::Upload, Some(target.system()), false, by)),
        }
    }

    /// Whether the caller may do this to the audit log of the own organisation. One phase.
    ///
    /// # Errors
    /// [`Denial`] if not.
    pub fn authorise_log<R: LogRight>(&self, principal: &Principal) -> Result<Authorised<R, Log>, Denial> {
        match self.decide(principal, R::ACTION, &Resource::Log) {
            Ok(()) => Ok(authorised(principal, Log)),
            Err(by) => Err(Denial::new(principal, R::ACTION, None, false, by)),
        }
    }

    /// The first phase for a file that exists, before its record is read: whether the caller may do this to such
    /// files at all, be they the caller's own or somebody else's. The second is [`Provisional::confirm`].
    ///
    /// # Errors
    /// [`Denial`] if the caller may do it to neither.
    pub fn consider<R: RecordRight, T: Target>(
        &self,
        principal: &Principal,
        target: T,
    ) -> Result<Provisional<R, T>, Denial> {
        let decide = |owner| self.decide(principal, R::ACTION, &Resource::file(&target, owner));
        let both =
            decide(principal.sub()).or_else(|own| decide(SOMEBODY_ELSE).map_err(|other| own.and(other)));
        match both {
            Ok(()) => Ok(Provisional(authorised(principal, target))),
            Err(by) => Err(Denial::new(principal, R::ACTION, Some(target.system()), false, by)),
        }
    }
}

macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident: $kind:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Right for $name {
            const ACTION: Action = Action::$name;
        }
        rights!(@$kind $name);
    )*};
    (@new $name:ident) => {};
    (@record $name:ident) => { impl RecordRight for $name {} };
    (@log $name:ident) => { impl LogRight for $name {} };
}

rights! {
    /// The right to [`Action::Upload`].
    Upload: new;
    /// The right to [`Action::ReadMetadata`].
    ReadMetadata: record;
    /// The right to [`Action::Sign`].
    Sign: record;
    /// The right to [`Action::Delete`].
    Delete: record;
    /// The right to [`Action::Purge`].
    Purge: record;
    /// The right to [`Action::ReadLog`].
    ReadLog: log;
    /// The right to [`Action::ExportLog`].
    ExportLog: log;
}

/// An owner that is never the caller: a `sub` has no control characters. A policy that speaks of one owner by name
/// does not see that owner in the first phase; it can narrow what others permit, not permit on its own.
const SOMEBODY_ELSE: &str = "\u{0}somebody else";

fn authorised<R: Right, T>(principal: &Principal, target: T) -> Authorised<R, T> {
    Authorised { principal: principal.clone(), target, right: PhantomData }
}

mod sealed {
    pub trait Sealed {}
}
