//! Stories: whole paths through bursar, against the stand-in, on both databases.
