//! Keys that are for some models only.

use super::*;

fn reserved(number: usize, models: &[&str]) -> Seed {
    Seed { models: models.iter().map(ToString::to_string).collect(), ..seed(number) }
}

/// Keys 0 for all models, 1 for qwen*, 2 for qwen-max and llama*.
fn mixed() -> Arc<Pool> {
    pool_of(vec![seed(0), reserved(1, &["qwen*"]), reserved(2, &["qwen-max", "llama*"])], RULES, 0)
}

fn who(pool: &Arc<Pool>, model: &str, now: Millis) -> Vec<u32> {
    let mut keys: Vec<_> = (0..12).filter_map(|_| pool.checkout(model, now).ok().map(|lease| lease.index())).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[test]
fn a_key_is_handed_out_for_its_models_only() {
    let pool = mixed();
    assert_eq!(who(&pool, "qwen-max", T0), [0, 1, 2]);
    assert_eq!(who(&pool, "qwen-plus", T0), [0, 1]);
    assert_eq!(who(&pool, "llama-4", T0), [0, 2]);
    assert_eq!(who(&pool, "gpt", T0), [0]);
    assert_eq!(who(&pool, "", T0), [0, 1, 2], "whoever names no model may have any key");
    assert!(pool.checkout_other("gpt".into(), &[0], T0).is_none(), "no retry leaves the model's keys");
    assert!(pool.has_reserved_keys() && pool.serves("gpt"));
}

#[test]
fn without_a_key_for_a_model_there_is_none_for_good() {
    let pool = pool_of(vec![reserved(0, &["qwen*"]), reserved(1, &["llama*"])], RULES, 0);
    assert_eq!(pool.checkout("gpt", T0).err(), Some(Exhausted::NoneUsable));
    assert!(!pool.serves("gpt") && pool.serves("qwen-max"));
    assert!(!pool.has_ready("gpt", T0));
    mark(&pool, 0, cool(30), T0);
    assert_eq!(pool.checkout("qwen-max", T0).err(), Some(Exhausted::Cooling(secs(30))));
    assert_eq!(who(&pool, "llama-4", T0), [1]);
    let back = T0.after(secs(30));
    assert_eq!(who(&pool, "qwen-max", back), [0]);
    assert_eq!(pool.checkout("gpt", back).err(), Some(Exhausted::NoneUsable));
}

#[test]
fn a_rest_for_a_model_leaves_other_models_keys_where_they_are() {
    let pool = mixed();
    let place = |model| Place { target: "api.example", model };
    pool.mark(1, Scope::Model, cool(60), &place("qwen-plus"), T0);
    assert_eq!(who(&pool, "qwen-plus", T0), [0]);
    assert_eq!(who(&pool, "qwen-max", T0), [0, 1, 2]);
    pool.mark(0, Scope::Model, cool(60), &place("gpt"), T0);
    assert_eq!(pool.checkout("gpt", T0).err(), Some(Exhausted::Cooling(secs(60))));
    let back = T0.after(secs(60));
    assert_eq!(who(&pool, "gpt", back), [0], "keys 1 and 2 did not slip in");
    assert_eq!(who(&pool, "qwen-plus", back), [0, 1]);
}

#[test]
fn keys_keep_to_their_models_through_disabling_and_reloads() {
    let pool = mixed();
    assert_eq!(who(&pool, "gpt", T0), [0]);
    pool.disable(0, T0);
    assert_eq!(pool.checkout("gpt", T0).err(), Some(Exhausted::NoneUsable));
    pool.disable(1, T0);
    pool.enable(1, T0);
    assert_eq!(pool.checkout("gpt", T0).err(), Some(Exhausted::NoneUsable));
    assert_eq!(who(&pool, "qwen-plus", T0), [1]);

    pool.mark(1, Scope::Model, cool(60), &Place { target: "api.example", model: "qwen-plus" }, T0);
    let seeds = vec![reserved(1, &["gpt"]), reserved(2, &["*"])];
    let next = Arc::new(Pool::new(seeds, RULES, 0, Some(&pool)));
    next.open(Some(&pool), T0);
    assert_eq!(who(&next, "gpt", T0), [0, 1]);
    assert_eq!(who(&next, "qwen-plus", T0), [1], "by what the keys are for now");
    assert_eq!(who(&next, "qwen-plus", T0.after(secs(60))), [1]);
}

#[test]
fn an_explanation_names_the_model() {
    let pool = mixed();
    let explained = pool.explain("gpt", T0);
    assert_eq!(explained[0], Explanation { blocked: None, ready_in: Some(Duration::ZERO), deferred: Duration::ZERO });
    assert_eq!(
        explained[1],
        Explanation { blocked: Some((Blocker::Model, None)), ready_in: None, deferred: Duration::ZERO }
    );
    assert!(pool.explain("", T0).iter().all(|explanation| explanation.blocked.is_none()));
    assert!(pool.explain_worst(T0).iter().all(|explanation| explanation.blocked.is_none()));
}

#[test]
fn however_many_models_are_asked_for_the_boards_are_bounded() {
    let seeds = (0..200).map(|i| reserved(i, &[&format!("m{i}")])).collect();
    let pool = pool_of(seeds, RULES, 0);
    for round in 0..2 {
        for i in 0..200_u32 {
            assert_eq!(who(&pool, &format!("m{i}"), T0), [i], "round {round}");
        }
    }
    assert!(pool.models.load().len() <= 100);
    pool.tidy(T0.after(secs(100_000)));
    assert_eq!(who(&pool, "m7", T0), [7]);
}

#[test]
fn one_certain_key_is_handed_out_if_it_can_be_used() {
    let pool = pool(3);
    assert_eq!(pool.checkout_key(1, "", T0).map(|lease| lease.index()), Ok(1));
    mark(&pool, 1, cool(30), T0);
    assert_eq!(pool.checkout_key(1, "", T0).err(), Some(Exhausted::Cooling(secs(30))));
    assert!(pool.checkout_key(1, "", T0.after(secs(30))).is_ok());
    pool.disable(1, T0);
    assert_eq!(pool.checkout_key(1, "", T0.after(secs(30))).err(), Some(Exhausted::NoneUsable));
    pool.mark(2, Scope::Model, cool(30), &HERE, T0);
    assert_eq!(pool.checkout_key(2, "m", T0).err(), Some(Exhausted::Cooling(secs(30))));
    assert!(pool.checkout_key(2, "n", T0).is_ok());
    assert_eq!(pool.checkout_key(9, "", T0).err(), Some(Exhausted::NoneUsable));
}
