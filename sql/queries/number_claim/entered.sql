-- number_claim/entered
-- Says that each document of two years has its row: a migration that is run again need not look.
comment on table number_claims is 'entered'
