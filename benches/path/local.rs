//! A runtime of one thread.

/// Runs `future` on this thread, with tasks that need not be `Send`.
pub(crate) fn serve_local(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future);
}
