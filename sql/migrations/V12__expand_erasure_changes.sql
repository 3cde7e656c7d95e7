-- When a pass last changed something: until then answers that are kept for repeated requests could still tell the name.
alter table erasures add column changed_at timestamptz;
