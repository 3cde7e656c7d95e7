-- number_claim/is_entered
select coalesce(obj_description('number_claims'::regclass, 'pg_class') = 'entered', false)
