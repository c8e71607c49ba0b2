"""The attacks as their papers have them: one entry each, whatever library runs it."""

from __future__ import annotations

from bench.norms import Norm
from bench.specs import Access, Family, Method, Start, Variant

BB_RATES = {Norm.L0: 0.05, Norm.L1: 1e-3, Norm.L2: 1e-3, Norm.LINF: 1e-3}
BB_RATE = (
    "the first radius of the trust region, as a fraction of the number of values; libraries: 0.001, which in L0 is "
    "less than the whole range of one value and finds twice the distance; 0.05 there; on inputs of a dozen values the "
    "radius is too small to arrive"
)
BB_STEPS = {Norm.L0: 250, Norm.L1: 500, Norm.L2: 500, Norm.LINF: 500}
BB_STEP = "paper and libraries: 1000; more than these lower the median no further"
BB_STARTS = {Norm.L0: Start.NOISE, Norm.L1: Start.NEAREST, Norm.L2: Start.NEAREST, Norm.LINF: Start.NEAREST}
"""Brendel-Bethge's learning rates, steps and starts, the same in both libraries, and why."""

HSJ_STEPS = (
    "paper: as many as the queries allow; ART: 50, Foolbox: 64; the cost allows no more, the same in both, and the "
    "distance still falls"
)
HSJ_QUERIES = (
    "paper and both libraries: 100; four times the steps with a fifth of it cost little more and reach further, "
    "above all in ART, whose last step is never undone"
)
"""HopSkipJump's steps and queries to each, the same in both libraries, and why."""

CANDIDATES = "all other classes; the ten with the largest clean logits where there are more"
"""Which classes attacks consider that would otherwise take each class in turn."""

DEEPFOOL_CANDIDATES = "library and paper: 10, the label among them: those with the largest clean logits"
"""The same in the libraries' own DeepFool."""

REPAIRED = Variant(
    slug="repaired",
    title="repaired",
    idea=(
        "The library's attack with the defects mended that keep it from the paper's algorithm. It stands beside the "
        "library's own, so that the difference can be read off."
    ),
)

EVERY_CLASS = Variant(
    slug="every-class",
    title="every class",
    idea=(
        "The attack is run towards each other class k in turn, with z_k - max over j != k of z_j in its loss, and the "
        "nearest result is kept. Untargeted, it follows the class that leads at the moment, and may end at a boundary "
        "that is not the nearest."
    ),
)

DEEPFOOL = Method(
    slug="deepfool",
    title="DeepFool",
    family=Family.DEEPFOOL,
    access=Access.GRADIENT,
    paper="arXiv:1511.04599",
    idea=(
        "Take the network for linear at the current point, so that every class boundary is a hyperplane, and step "
        "onto the nearest one. Repeat from there until the class changes, then go a little beyond."
    ),
    formula=(
        "f_k = z_k(x) - z_y(x), w_k = grad f_k; L2: r = |f_k| / ||w_k||_2^2 * w_k; "
        "Linf: r = |f_k| / ||w_k||_1 * sign(w_k); k with the smallest |f_k| / ||w_k||_dual; x <- x + r"
    ),
)

SPARSEFOOL = Method(
    slug="sparsefool",
    title="SparseFool",
    family=Family.DEEPFOOL,
    access=Access.GRADIENT,
    paper="arXiv:1811.02248",
    idea=(
        "DeepFool finds a point on the boundary and the boundary's normal there; the boundary is then taken for that "
        "hyperplane. The hyperplane is reached inside the box by moving as few pixels as possible, those with the "
        "largest normal first, and all is repeated until the class changes."
    ),
    formula=(
        "x_B = DeepFool(x), w = grad (z_k - z_y)(x_B); from x, pixel by pixel d = argmax |w_d| of those not yet used: "
        "x_d <- clip(x_d + |w . (x_t - x)| / |w_d| * sign(w_d)), x_t = x + lambda (x_B - x)"
    ),
)

CW = Method(
    slug="cw",
    title="C&W",
    family=Family.CW,
    access=Access.GRADIENT,
    paper="arXiv:1608.04644",
    idea=(
        "Minimise the distance plus a constant times how far the class is from changing, with Adam, in a variable "
        "that cannot leave the box. A binary search finds the smallest constant that still changes the class."
    ),
    formula=(
        "min over w of D(x', x) + c * max(z_y(x') - max over k != y of z_k(x'), -kappa), x' = (tanh(w) + 1) / 2; "
        "L2: D = ||x' - x||_2^2; L0: L2 repeated, each time fixing the pixels with the least gradient times change; "
        "Linf: D = sum of max(|x'_i - x_i| - tau, 0), tau lowered as long as it succeeds"
    ),
)

BOUNDARY = Method(
    slug="boundary",
    title="Boundary attack",
    family=Family.BOUNDARY,
    access=Access.DECISION,
    paper="arXiv:1712.04248",
    idea=(
        "Start from an image of another class and walk at random along the boundary, keeping a step only if the class "
        "stays wrong. The sizes of the steps along the boundary and towards the image follow the fraction of steps "
        "kept."
    ),
    formula=(
        "eta ~ N(0, I), scaled to ||eta||_2 = delta ||x' - x||_2 and projected on the sphere around x; "
        "then x' <- x' + epsilon (x - x'); kept if argmax z(x') != y"
    ),
)

HOPSKIPJUMP = Method(
    slug="hopskipjump",
    title="HopSkipJump",
    family=Family.BOUNDARY,
    access=Access.DECISION,
    paper="arXiv:1904.02144",
    idea=(
        "Find a point on the boundary by bisection and estimate the boundary's normal there from decisions at random "
        "points around it. Step along the normal, bisect back to the boundary, repeat."
    ),
    formula=(
        "grad ~ mean over b of (phi_b - mean phi) u_b, phi_b = +1 if argmax z(x_t + delta u_b) != y else -1; "
        "x <- x_t + xi_t v(grad), v = grad / ||grad||_2 (L2) or sign(grad) (Linf), xi_t = ||x_t - x||_p / sqrt(t)"
    ),
)

GEODA = Method(
    slug="geoda",
    title="GeoDA",
    family=Family.BOUNDARY,
    access=Access.DECISION,
    paper="arXiv:2003.06468",
    idea=(
        "Take the boundary near the image for a hyperplane, and estimate its normal from decisions at random points of low "
        "frequency around a point on it. From the image go along the normal until the class changes, bisect back, and "
        "estimate the normal there with more queries than before."
    ),
    formula=(
        "w_t = w_(t-1) + mean over b of rho_b u_b, rho_b = +1 if argmax z(x_t + sigma u_b) != y else -1, u_b ~ N(0, I) in "
        "the span of a discrete cosine transform's lowest frequencies; x_(t+1) = x + r v(w_t), v(w) = w / ||w||_2 (L2) or "
        "sign(w) (Linf), r the smallest with argmax z != y; queries to step t in proportion to lambda^(-2t/3)"
    ),
)

SIGN_OPT = Method(
    slug="signopt",
    title="Sign-OPT",
    family=Family.BOUNDARY,
    access=Access.DECISION,
    paper="arXiv:1909.10773",
    idea=(
        "Minimise over directions how far the boundary lies in a direction. One decision says whether a direction nearby is "
        "shorter, many of them give the gradient's signs, and a bisection measures the distance of each step."
    ),
    formula=(
        "g(d) = the smallest r with argmax z(x + r d / ||d||_2) != y; grad ~ mean over q of s_q u_q, u_q a random unit "
        "vector, s_q = -1 if argmax z(x + g(d) d_q) != y else +1, d_q = (d + epsilon u_q) / ||d + epsilon u_q||_2; d <- d - "
        "alpha grad, alpha by a search along the line"
    ),
)

POINTWISE = Method(
    slug="pointwise",
    title="Pointwise",
    family=Family.BOUNDARY,
    access=Access.DECISION,
    paper="arXiv:1805.09190",
    idea=(
        "Start from an adversarial image and put back one pixel after the other, in random order, as long as the class "
        "stays wrong. What cannot be put back is the change."
    ),
    formula="for i in random order: x'_i <- x_i if argmax z(x' with x_i) != y; until no pixel can be put back",
)

BRENDEL_BETHGE = Method(
    slug="bb",
    title="Brendel-Bethge",
    family=Family.BOUNDARY_FOLLOWING,
    access=Access.GRADIENT,
    paper="arXiv:1907.01003",
    idea=(
        "Start from a point on the boundary between the image and an adversarial one, and follow the boundary "
        "towards the image. Each step solves exactly for the point nearest to the image on the linearised boundary, "
        "inside the box and a trust region."
    ),
    formula=(
        "min over delta of ||x - x' - delta||_p with b . delta = c, ||delta||_2 <= r, 0 <= x' + delta <= 1; "
        "b = grad of (max over k != y of z_k - z_y)(x'), c its distance to the boundary"
    ),
)

DDN = Method(
    slug="ddn",
    title="DDN",
    family=Family.REFERENCE,
    access=Access.GRADIENT,
    paper="arXiv:1811.09600",
    idea=(
        "Follow the gradient of the loss and, after every step, project on a sphere around the image. The sphere "
        "shrinks while the class is wrong and grows while it is right, so that it closes in on the boundary."
    ),
    formula=(
        "delta <- delta + alpha g / ||g||_2, g = grad cross-entropy(x + delta); rho <- rho (1 - gamma) if argmax z != "
        "y else rho (1 + gamma); delta <- rho delta / ||delta||_2, then clip to the box"
    ),
)

FMN = Method(
    slug="fmn",
    title="FMN",
    family=Family.REFERENCE,
    access=Access.GRADIENT,
    paper="arXiv:2102.12827",
    idea=(
        "DDN for any norm: normalised gradient steps on the margin, each followed by a projection on the ball of "
        "radius epsilon. While no adversarial point is known, epsilon is estimated from margin and gradient as if "
        "the network were linear; afterwards it shrinks and grows by a decaying factor."
    ),
    formula=(
        "epsilon <- min(epsilon (1 - gamma), best) if argmax z != y, else ||delta||_p + margin / ||grad margin||_q or "
        "epsilon (1 + gamma); delta <- project_epsilon(delta + alpha g / ||g||_2); alpha and gamma decay by cosine"
    ),
)

JSMA = Method(
    slug="jsma",
    title="JSMA",
    family=Family.REFERENCE,
    access=Access.GRADIENT,
    paper="arXiv:1511.07528",
    idea=(
        "Score every pixel by how much the derivatives of the logits say that it moves the class, and change the "
        "best scored fully. Repeat until the class changes or too many pixels are changed."
    ),
    formula="S_i = dz_t/dx_i * |sum over k != t of dz_k/dx_i| where the signs agree, else 0; x_i <- clip(x_i + theta)",
)

SIGMA_ZERO = Method(
    slug="sigma-zero",
    title="sigma-zero",
    family=Family.REFERENCE,
    access=Access.GRADIENT,
    paper="arXiv:2402.01879",
    idea=(
        "Minimise the margin plus a smooth approximation of the number of changed pixels, with normalised gradients "
        "and Adam. Changes below a threshold are set to zero, and the threshold rises while the class is wrong and "
        "falls while it is right."
    ),
    formula=(
        "min over delta of max(z_y - max over k != y of z_k, 0) + 1/n sum delta_i^2 / (delta_i^2 + sigma); "
        "delta_i <- 0 where |delta_i| < tau; tau <- tau +- t * step"
    ),
)

FAB = Method(
    slug="fab",
    title="FAB",
    family=Family.REFERENCE,
    access=Access.GRADIENT,
    paper="arXiv:1907.02044",
    idea=(
        "Project the current point and the image on the linearised boundary, exactly inside the box, and go on from a "
        "point between the two projections, a little beyond the boundary. From an adversarial point step back towards "
        "the image, and start again from random points nearby."
    ),
    formula=(
        "x <- (1 - a) (x + eta d(x)) + a (x_0 + eta d(x_0)), d(z) = nearest point of box and hyperplane "
        "f_k(x) + grad f_k(x) . (z - x) = 0 to z, minus z; a = min(||d(x)|| / (||d(x)|| + ||d(x_0)||), a_max); "
        "if argmax z(x) != y: x <- (1 - beta) x_0 + beta x; here towards each class k in turn"
    ),
)

ALMA = Method(
    slug="alma",
    title="ALMA",
    family=Family.REFERENCE,
    access=Access.GRADIENT,
    paper="arXiv:2011.11857",
    idea=(
        "Minimise the distance plus a penalty on a margin in units that do not depend on the scale of the logits. The "
        "penalty's multiplier follows the derivative of an augmented Lagrangian, and its weight grows while the class "
        "does not change."
    ),
    formula=(
        "min over x of D(x, x_0) + P(m(x), rho, mu), m = (z_y - max over k != y of z_k) / (z_(1) - z_(3)); P(m) = mu m + "
        "mu rho m^2 + rho^2 m^3 / 6 if m >= 0 else mu m / (1 - rho m); mu <- average of dP/dm; steps by RMSProp"
    ),
)

PDPGD = Method(
    slug="pdpgd",
    title="PDPGD",
    family=Family.REFERENCE,
    access=Access.GRADIENT,
    paper="arXiv:2106.01538",
    idea=(
        "Two players share weights between the norm and the margin: one changes the image by gradient steps on the "
        "margin and proximal steps on the norm, the other raises the margin's weight while the class is right. The "
        "proximal step needs no gradient of the norm, and so takes L0 too."
    ),
    formula=(
        "r <- prox of (l_1 / l_2) step ||r||_p at r - Adam(grad softplus(m(x + r))), by steps of proximal Adam; l = softmax(0, v), "
        "v <- v + eta sign(m), m = z_y - max over k != y of z_k"
    ),
)

APGD_T = Method(
    slug="apgd-t",
    title="APGD_t",
    family=Family.REFERENCE,
    access=Access.GRADIENT,
    paper="arXiv:2003.01690",
    idea=(
        "Projected gradient ascent with momentum in a ball, on a loss towards one class that does not depend on the "
        "scale of the logits; the step is halved, and the best point taken up again, where the loss stops rising. A "
        "bisection for each image finds the smallest ball that holds an adversarial point."
    ),
    formula=(
        "max over ||r||_p <= eps of (z_k - z_y) / (z_(1) - (z_(3) + z_(4)) / 2); x_{t+1} = P(x_t + a (P(x_t + eta s) - "
        "x_t) + (1 - a) (x_t - x_{t-1})), s = sign(g) in Linf, g / ||g||_2 in L2, the largest derivatives' signs in L1 "
        "(arXiv:2103.01208); eta from 2 eps"
    ),
)

ONE_BY_ONE = "all other classes one by one, the ten with the largest clean logits where there are more"
"""What attacks try that look at one class at a time."""

EAD = Method(
    slug="ead",
    title="EAD",
    family=Family.CW,
    access=Access.GRADIENT,
    paper="arXiv:1709.04114",
    idea=(
        "C&W's loss with the L1 distance beside the squared L2 distance, minimised inside the box by gradient steps, each "
        "followed by a shrinkage that sets small changes to zero. A binary search finds the smallest constant that "
        "still changes the class, and of all that is met the nearest in L1 is kept."
    ),
    formula=(
        "min over x' of c * max(z_y(x') - max over k != y of z_k(x'), -kappa) + ||x' - x||_2^2 + beta ||x' - x||_1; "
        "x' <- S_beta(y - alpha grad(y)), S_beta moves each value by beta towards x and not past it, then clips to the "
        "box; y <- x'_t + t / (t + 3) (x'_t - x'_(t-1))"
    ),
)

EAD_REASONS = {
    "search": "paper and libraries: 9, from a constant of 0.001 that is too small by far",
    "const": "paper and libraries: 0.001; nearer to the constants that succeed, so that fewer search steps are needed",
    "steps": "paper: 1000; the cost allows no more",
    "beta": "paper and ART: 0.001; Foolbox: 0.01",
    "rule": "of the paper's two rules the one that keeps the nearest in L1",
}
"""EAD's parameters, the same in both libraries, and why."""
