"""The restorer protocol: specification, plan, inputs, estimate (imports core and geometry)."""
