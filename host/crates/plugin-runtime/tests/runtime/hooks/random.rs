//! Thousands of random answers of the right types: whatever comes, it is taken or refused, and what is taken keeps the
//! rules.

use plugin_runtime::hooks::{
    Call, Cause, HookFailure, Observer, ObserverInput, Plan, Router, Step, Target, Treatment,
    Verdict, Waiting,
};
use serde_json::{Value, json};
use wit_parser::{Type, TypeDefKind};

use super::{
    answer,
    answers::{Answers, Contract},
    config, load,
};

const ANSWERS: u64 = 400;

#[test]
fn random_answers_are_taken_or_refused_and_never_break_a_rule() {
    for seed in [1, 2, 3] {
        let contract = Contract::read();
        let mut dice = Dice(seed);
        let mut some = |interface: &str, function: &str| -> Vec<Value> {
            let ty = contract.answer(interface, function);
            (0..ANSWERS).map(|_| random(&contract, &ty, &mut dice, 0)).collect()
        };
        let plugin = load(Answers {
            route: some("router", "route"),
            next: some("wait-treatment", "next"),
            step: some("observer", "step"),
            init: None,
        });
        let mut router = Router::start(&plugin, config()).unwrap();
        let mut treatment = Treatment::start(&plugin, config()).unwrap();
        let mut observer = Observer::start(&plugin, config()).unwrap();
        let mut taken = 0;
        for number in 0..ANSWERS {
            let place = format!("seed {seed}, answer {number}");
            let decision = router.route(answer(number), &Call::default(), &[]);
            if let Ok(decision) = sane(decision, &place) {
                taken += 1;
                match decision.verdict {
                    Verdict::Send(target) => check_target(&target, &place),
                    Verdict::Treat(treat) => {
                        treat.then.iter().for_each(|target| check_target(target, &place));
                    }
                    Verdict::Need(lookups) => assert!((1..=4).contains(&lookups.len()), "{place}"),
                    Verdict::Pass => {}
                }
            }
            let plan = treatment.next(answer(number), &Waiting::default(), b"", &Cause::Woke, &[]);
            if let Ok(plan) = sane(plan, &place) {
                taken += 1;
                check_plan(&plan, &place);
            }
            let _ = sane(observer.step(answer(number), &[ObserverInput::Lost(100)]), &place);
        }
        assert!(taken > 20, "the dice are loaded: {taken} taken with seed {seed}");
    }
}

/// A value of the right type makes no guest trap.
fn sane<T>(said: Result<T, HookFailure>, place: &str) -> Result<T, HookFailure> {
    assert!(
        !matches!(said, Err(HookFailure::Trapped(_) | HookFailure::Late { .. })),
        "{place}: {}",
        said.err().unwrap()
    );
    said
}

fn check_plan(plan: &Plan, place: &str) {
    for step in plan.steps.iter().flatten() {
        match step {
            Step::HandOver(Some(target)) => check_target(target, place),
            Step::Play(media) => media.iter().for_each(|name| check_name(name, place)),
            _ => {}
        }
    }
    assert!(plan.keys.chars().all(|key| "0123456789*#ABCD".contains(key)), "{place}");
}

fn check_target(target: &Target, place: &str) {
    match target {
        Target::Queue(queue) => check_name(&queue.name, place),
        Target::Extension(extension) => check_name(&extension.number, place),
        Target::Dialplan(to) => {
            check_name(&to.context, place);
            check_name(&to.extension, place);
        }
        Target::HangUp(end) => assert!((1..=127).contains(&end.q850), "{place}"),
        Target::ContinueInDialplan => {}
    }
}

fn check_name(name: &str, place: &str) {
    let odd = |letter: char| letter.is_control() || "&,|;$(){}\"\\ ".contains(letter);
    assert!(!name.is_empty() && name.len() <= 120 && !name.contains(odd), "{place}: {name:?}");
}

/// A random value, more often sensible than not: most nonsense would end at its first field.
fn random(contract: &Contract, ty: &Type, dice: &mut Dice, depth: u32) -> Value {
    let kind = match contract.kind(ty) {
        Ok(kind) => kind,
        Err(Type::String) => return dice.text().into(),
        Err(Type::Bool) => return (dice.below(2) == 0).into(),
        Err(Type::S32) => return json!(dice.number() as i32),
        Err(Type::U8) => return json!(dice.number() as u8),
        Err(Type::U16) => return json!(dice.number() as u16),
        Err(Type::U32) => return json!(dice.number() as u32),
        Err(_) => return json!(dice.number()),
    };
    match kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter();
            fields.map(|it| (it.name.clone(), random(contract, &it.ty, dice, depth + 1))).collect()
        }
        TypeDefKind::Tuple(tuple) => {
            tuple.types.iter().map(|ty| random(contract, ty, dice, depth + 1)).collect()
        }
        TypeDefKind::Variant(variant) => {
            // `other` is always refused: seldom.
            let cases = variant.cases.len() as u64 - u64::from(dice.below(20) > 0);
            let case = &variant.cases[dice.below(cases) as usize];
            match &case.ty {
                Some(ty) => json!({ case.name.as_str(): random(contract, ty, dice, depth + 1) }),
                None => case.name.as_str().into(),
            }
        }
        TypeDefKind::Result(result) => {
            let (case, ty) =
                if dice.below(10) > 0 { ("ok", result.ok) } else { ("err", result.err) };
            json!({ case: random(contract, &ty.unwrap(), dice, depth + 1) })
        }
        TypeDefKind::Option(_) if dice.below(2) == 0 => Value::Null,
        TypeDefKind::Option(inner) => random(contract, inner, dice, depth + 1),
        TypeDefKind::List(Type::U8) => dice.text().into(),
        TypeDefKind::List(item) => {
            let count = [0, 0, 0, 1, 1, 2, 70][dice.below(7) as usize];
            let count = if depth > 3 { count.min(2) } else { count };
            (0..count).map(|_| random(contract, item, dice, depth + 1)).collect()
        }
        other => panic!("the contract has no {other:?}"),
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => self.next(),
            1 => u64::MAX,
            2 => 0,
            _ => 1 + self.below(60),
        }
    }

    fn text(&mut self) -> String {
        match self.below(16) {
            0 => String::new(),
            1 => "a&b".into(),
            2 => "x\r\nAction: Originate".into(),
            3 => "x".repeat(self.below(5000) as usize),
            4 => "\u{1F4DE}\u{202e}".into(),
            5 => "GET".into(),
            6 => "https://crm.example.org/".into(),
            7 => "digits".into(),
            8 => "plain".into(),
            9 => "/../etc".into(),
            _ => self.below(1000).to_string(),
        }
    }
}
