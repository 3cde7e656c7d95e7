-- role/grant_function
-- {function} runs as its owner: for nobody else than the API.
revoke all on function {function} from public;
grant execute on function {function} to sheaf_api
