//! What the dialects say differently of a device's transfers.

/// The rules of one dialect, for transfers.
#[derive(Debug, PartialEq, Eq)]
pub struct Rules {
    /// What a cat answers when an inner file moved fewer bytes than it was asked to.
    pub cat_short: &'static str,
    /// Whether a part that its inner file wrote only partly is an error, or a short answer.
    pub part_short_write_fails: bool,
    /// Whether a write to a mirror goes on to the other legs after one failed.
    pub mirror_writes_all: bool,
    /// What a write of no bytes to our ctl answers, where a cat passes such a write on to the inner
    /// files that hold none of a range; `None` where it does not.
    pub empty_message: Option<&'static str>,
    /// What a transfer to a deleted device answers.
    pub gone: &'static str,
}
