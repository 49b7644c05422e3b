

def test_a_mask_is_marched_as_its_field(oblique: Grid) -> None:
    mask = np.random.default_rng(0).random(oblique.shape) > 0.4  # at the border too
    ours, theirs = march(mask, oblique), march(np.where(mask, 0.5, -0.5), oblique)
    np.testing.assert_array_equal(ours.faces, theirs.faces)
    np.testing.assert_allclose(ours.vertices, theirs.vertices, atol=1e-5)
