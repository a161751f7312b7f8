"""Which attention backends the engines take, asked of their own selectors."""
