-- customer/erase_history
-- $1 tenant, $2 year, $3 customer. Its own events keep what happened and when.
update events
set data = data #- '{old,external_id}' #- '{old,name}' #- '{old,email}' #- '{old,tax_id}' #- '{old,address}'
    #- '{old,metadata}' #- '{new,external_id}' #- '{new,name}' #- '{new,email}' #- '{new,tax_id}' #- '{new,address}'
    #- '{new,metadata}'
where tenant_id = $1 and year = $2 and subject_id = $3
