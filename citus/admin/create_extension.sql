-- citus/admin/create_extension
create extension if not exists citus
