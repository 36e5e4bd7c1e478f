//! Stories: whole paths through bursar, against the stand-in, on both databases.

#[cfg(test)]
mod standin_replay;
