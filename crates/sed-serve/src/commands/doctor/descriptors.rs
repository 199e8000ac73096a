//! The check of file descriptors against the connections that settings allow.

use super::check::Check;
use crate::{
    args::ServerArgs,
    descriptors::{ADVICE, Limits, needed},
};

/// Returns `None` if the settings cannot be read, which another check reports, or the system has no limit.
pub(super) fn check(args: &ServerArgs) -> Option<Check> {
    let connections = args.load().ok()?.settings.max_connections();
    Limits::now().map(|limits| judge(limits, connections))
}

fn judge(Limits { soft, hard }: Limits, connections: usize) -> Check {
    const NAME: &str = "open files";
    let needed = needed(connections);
    let limit = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let raised =
        if soft == hard { String::new() } else { format!(", which `serve` raises to {}", limit(hard)) };
    let found = format!("{}{raised}; {connections} connections need {needed}", limit(soft));
    if hard.is_some_and(|hard| hard < needed) {
        return Check::warning(NAME, found, ADVICE);
    }
    Check::good(NAME, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn the_hard_limit_decides() {
        let judged = |soft, hard| judge(Limits { soft, hard }, 4096);
        let raised = judged(Some(1024), Some(1 << 19));
        assert_eq!(raised.verdict, Verdict::Good);
        assert_eq!(raised.found, "1024, which `serve` raises to 524288; 4096 connections need 4352");
        assert_eq!(judged(Some(1024), None).verdict, Verdict::Good);
        let few = judged(Some(4351), Some(4351));
        assert_eq!((few.verdict, few.found.as_str()), (Verdict::Warning, "4351; 4096 connections need 4352"));
        assert!(few.advice.unwrap().contains("--max-connections"));
    }
}
