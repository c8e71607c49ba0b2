"""L0: single values decided exactly in any network, branch and bound over values in dense ones."""
