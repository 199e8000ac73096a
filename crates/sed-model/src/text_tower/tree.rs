//! Prompts as a tree of tokens, in which a shared prefix is there once.

use std::collections::HashMap;

use sed_kernels::PrefixChains;

/// The number of a node. A tree that continues another numbers its nodes after that one's.
pub(super) type Node = u32;

/// A tree of tokens, or the part of one that grows out of another tree (its base).
#[derive(Debug, Default)]
pub(super) struct TokenTree {
    /// Nodes of the base.
    first: Node,
    tokens: Vec<u32>,
    /// Distance of each node from the start of text.
    positions: Vec<u32>,
    parents: Vec<Option<Node>>,
    children: HashMap<(Option<Node>, u32), Node>,
}

impl TokenTree {
    /// An empty tree that grows out of `base`.
    pub(super) fn after(base: &Self) -> Self {
        Self { first: base.first + base.tokens.len() as Node, ..Self::default() }
    }

    /// Number of nodes, without the base's.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// This tree's nodes, parents before children.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        self.first..self.first + self.tokens.len() as Node
    }

    /// The token of each node.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The position of each node in its prompts.
    pub(super) fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The place of one of this tree's own nodes among them.
    pub(super) fn row(&self, node: Node) -> u32 {
        node - self.first
    }

    /// Adds a prompt and gives the node of its last token. Tokens that the base has are found there; the last
    /// one never is, because it is end of text and the base holds what comes before a phrase.
    pub(super) fn insert(&mut self, base: Option<&Self>, tokens: &[u32]) -> Node {
        let mut node = None;
        for (position, &token) in (0..).zip(tokens) {
            let key = (node, token);
            let known = base.and_then(|base| base.children.get(&key)).or_else(|| self.children.get(&key));
            node = Some(match known {
                Some(&known) => known,
                None => self.add(key, position),
            });
        }
        // Every prompt has at least its start of text.
        node.unwrap_or(self.first)
    }

    fn add(&mut self, key: (Option<Node>, u32), position: u32) -> Node {
        let node = self.first + self.tokens.len() as Node;
        self.tokens.push(key.1);
        self.positions.push(position);
        self.parents.push(key.0);
        self.children.insert(key, node);
        node
    }

    fn parent(&self, base: Option<&Self>, node: Node) -> Option<Node> {
        match (node.checked_sub(self.first), base) {
            (Some(own), _) => self.parents[own as usize],
            (None, Some(base)) => base.parents[node as usize],
            (None, None) => None,
        }
    }

    /// For each of `nodes`, itself and all nodes before it.
    pub(super) fn chains(&self, base: Option<&Self>, nodes: impl Iterator<Item = Node>) -> PrefixChains {
        let mut chains = PrefixChains::default();
        for node in nodes {
            chains.push(std::iter::successors(Some(node), |&node| self.parent(base, node)));
        }
        chains
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_prefixes_are_there_once() {
        let mut base = TokenTree::default();
        assert_eq!(base.insert(None, &[9, 1, 2]), 2);
        assert_eq!(base.insert(None, &[9, 1, 3]), 3);
        let mut tree = TokenTree::after(&base);
        let (a, b) =
            (tree.insert(Some(&base), &[9, 1, 2, 5, 8]), tree.insert(Some(&base), &[9, 1, 2, 5, 6, 8]));
        let c = tree.insert(Some(&base), &[9, 4, 8]);
        assert_eq!((a, b, c), (5, 7, 9));
        assert_eq!(tree.insert(Some(&base), &[9, 4, 8]), c);
        assert_eq!(tree.tokens(), [5, 8, 6, 8, 4, 8]);
        assert_eq!(tree.positions(), [3, 4, 4, 5, 1, 2]);
        assert_eq!(tree.row(c), 5);
        assert_eq!(tree.nodes().collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9]);
    }
}
