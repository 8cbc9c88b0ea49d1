"""The hybrid codec behind the network kind ``motion``: frames predicted block by block from decoded
samples, residuals as transform coefficients, all of it coded by mixed contexts. Integers only."""
