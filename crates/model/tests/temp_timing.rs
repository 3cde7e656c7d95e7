#![allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::print_stdout, clippy::float_arithmetic)]
use chrono::Utc;
use sheaf_model::input::Context;
use sheaf_model::{Decimal, InvoiceInput, TenantId, Kind};
#[test]
fn timing() {
    let text = std::fs::read_to_string("/tmp/pg-model/retail.ndjson").unwrap();
    let ctx = Context { tenant_id: TenantId(uuid::Uuid::from_u128(1)), now: Utc::now() };
    let (mut n, mut inv, mut cn, mut bytes, mut lines) = (0, Decimal::ZERO, Decimal::ZERO, 0, 0);
    let mut settled = 0;
    for l in text.lines() {
        let i = InvoiceInput::parse(l.as_bytes()).unwrap().into_invoice(&ctx).unwrap();
        n += 1; lines += i.lines.len(); bytes += i.render().len();
        settled += usize::from(sheaf_model::rules::is_settled(i.status));
        if i.kind == Kind::Invoice { inv += i.total } else { cn += i.total }
    }
    println!("n {n} lines {lines} inv {inv} cn {cn} rendered {bytes} settled {settled}");
    let small: Vec<&str> = text.lines().filter(|l| l.len() < 900).collect();
    for (name, set) in [("all", text.lines().collect::<Vec<_>>()), ("small", small)] {
        let b: usize = set.iter().map(|l| l.len()).sum();
        let t = std::time::Instant::now();
        let mut k = 0u32;
        let mut parsed = Vec::new();
        for _ in 0..10 { parsed.clear(); for l in &set { parsed.push(InvoiceInput::parse(l.as_bytes()).unwrap()); k += 1; } }
        println!("{name}: avg bytes {} parse {:?}/doc", b / set.len(), t.elapsed() / k);
        let t = std::time::Instant::now();
        let k = parsed.len() as u32;
        let done: Vec<_> = parsed.into_iter().map(|p| p.into_invoice(&ctx).unwrap()).collect();
        println!("into {:?}/doc", t.elapsed() / k);
        let t = std::time::Instant::now();
        let mut out = Vec::new();
        for i in &done { out.clear(); i.render_into(&mut out); }
        println!("render {:?}/doc", t.elapsed() / k);
    }
    let t = std::time::Instant::now();
    for _ in 0..100000 { std::hint::black_box(sheaf_model::id::new_id(ctx.now)); }
    println!("new_id {:?}", t.elapsed() / 100000);
}
