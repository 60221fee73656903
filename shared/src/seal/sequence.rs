//! Positions: what is new gets the next ones.

use super::{NewLeaf, SealError, Sealer, plan};
use crate::ids::OrgId;
use crate::tables::{Appended, Head};

impl Sealer<'_> {
    /// Gives positions to those leaves that have none, in their order. Answers how many those were, and the head; none if the
    /// log has no leaf.
    pub(super) async fn sequence(
        &self,
        org: &OrgId,
        leaves: &[NewLeaf],
    ) -> Result<(usize, Option<Head>), SealError> {
        let (mut given, mut told) = (0, false);
        let mut before = None;
        loop {
            // The head first: what gets a position after this moves it.
            let mut head = self.tables.head(org, self.deadline).await?;
            // What is to be said instead is hardly ever needed: the transaction tells if it has a position.
            let asked = if told { 2 } else { 1 };
            let identities = leaves.iter().flat_map(|leaf| leaf.identities().take(asked));
            let known = self.tables.leaf_hashes(org, identities, self.deadline).await?;
            let missing = NewLeaf::missing(leaves, known);
            if !told {
                // Before they are sealed: told twice is better than not at all.
                missing.iter().for_each(|leaf| plan::alarm(leaf));
                told = true;
            }
            let found = (head.map(|head| head.size), missing.len());
            if before.replace(found) == Some(found) {
                // The transaction was refused, and nobody was there before: rows are gone, or the head is.
                return Err(SealError::Gap);
            }
            let mut left = missing.as_slice();
            while !left.is_empty() {
                let appended = self.tables.append(org, head.as_ref(), left, self.now, self.deadline).await?;
                let Appended::Given(count, after) = appended else { break };
                (given, head, left) = (given + count, Some(after), &left[count..]);
            }
            if left.is_empty() {
                return Ok((given, head));
            }
        }
    }
}
