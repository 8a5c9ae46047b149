//! What a process has open.

/// Entries of a directory of the process's, such as `fd` and `task`.
pub(crate) fn entries(pid: u32, directory: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/{directory}")).map_or(0, Iterator::count)
}

/// Processes it has started that still run, or that it has not looked after.
pub(crate) fn children(pid: u32) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).ok();
    threads.filter_map(of_thread).map(|children| children.split_whitespace().count()).sum()
}
