"""The panels of the CTRestore module: thin widgets over ctrestorelib.mrml."""
