//! Tasks that run beside each other: all of an input's sources, all receivers of one.
//!
//! In: running tasks. Out: their end. Never: a panic that is kept to itself.

use tokio::task::JoinSet;

/// Waits for all; the first error ends all.
pub(crate) async fn all<E: 'static>(mut tasks: JoinSet<Result<(), E>>) -> Result<(), E> {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(outcome) => outcome?,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Ended from outside: the process ends.
            Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::all;

    #[tokio::test]
    async fn the_first_error_ends_all_and_a_panic_goes_on() {
        let mut tasks: JoinSet<Result<(), &str>> = JoinSet::new();
        tasks.spawn(std::future::pending());
        tasks.spawn(async { Ok(()) });
        tasks.spawn(async { Err("broken") });
        assert_eq!(all(tasks).await, Err("broken"));
        let mut tasks: JoinSet<Result<(), &str>> = JoinSet::new();
        tasks.spawn(async { std::panic::resume_unwind(Box::new("lost")) });
        assert!(tokio::spawn(all(tasks)).await.unwrap_err().is_panic());
    }
}
