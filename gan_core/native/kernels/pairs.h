/* Kernel sums and nearest neighbours from the products of pairs of features (gan_core/fidelity/neighbours.py), in one pass. */

#define TOGETHER (CACHE_LINE_BYTES / (long)sizeof(T)) /* distances that are compared together */
#define MOST_NEAREST 64

typedef struct {
    const T *terms, *other_terms;     /* the kernel's base is x.y / features + term + the other's term */
    const T *squares, *other_squares; /* norms */
    const T *radii, *other_radii;     /* squared radii of the balls around generated and real samples */
    double *kernel_rows, *kernel_columns, *kernel_squares;
    T *nearest;         /* within a set: squared distance to the k-th nearest, minus the sample's own squared norm */
    double *inside;     /* for each sample, the number of balls around real samples that contain it */
    T *closest, *depth; /* for each real sample: squared distance to the nearest sample, and how far it is outside all samples' balls */
    T *memory;          /* one row of distances */
    long columns, features, k;
} Pairs;

/* The (k + 1)-th smallest number: the smallest so far are kept in order, and groups without a smaller one are skipped. */
static T kth_smallest(const T *row, long count, long k) {
    T least[MOST_NEAREST];
    for (long i = 0; i <= k; i++) least[i] = INFINITY;
    for (long j = 0; j < count; j += TOGETHER) {
        const long end = j + TOGETHER < count ? j + TOGETHER : count;
        int any = 0;
        if (end - j == TOGETHER)
#pragma omp simd reduction(| : any)
            for (long i = 0; i < TOGETHER; i++) any |= row[j + i] < least[k];
        else
            any = 1;
        if (!any) continue;
        for (long i = j; i < end; i++) {
            if (!(row[i] < least[k])) continue;
            long place = k;
            for (; place > 0 && least[place - 1] > row[i]; place--) least[place] = least[place - 1];
            least[place] = row[i];
        }
    }
    return least[k];
}

INLINE void read_own_part(const Pairs *x, long row, const T *products, long start, long end, T *totals) {
    const T *terms = x->other_terms, *squares = x->other_squares, term = x->terms[row], share = (T)1 / x->features;
    T *distances = x->memory, sum = 0, square = 0;
#pragma omp simd reduction(+ : sum, square)
    for (long j = start; j < end; j++) {
        const T base = products[j] * share + terms[j] + term, kernel = base * base * base;
        sum += kernel;
        square += kernel * kernel;
        distances[j] = squares[j] - 2 * products[j];
    }
    totals[0] += sum;
    totals[1] += square;
}

INLINE void read_own(const Pairs *x, long row, const T *products) {
    T totals[2] = {0, 0};
    read_own_part(x, row, products, 0, row, totals); /* the kernel of a sample with itself is left out */
    read_own_part(x, row, products, row + 1, x->columns, totals);
    x->memory[row] = x->other_squares[row] - 2 * products[row];
    x->kernel_rows[row] = totals[0];
    x->kernel_squares[0] += totals[1];
    x->nearest[row] = kth_smallest(x->memory, x->columns, x->k);
}

INLINE void read_cross(const Pairs *x, long row, const T *products) {
    const T *terms = x->other_terms, *squares = x->other_squares, *radii = x->other_radii;
    const T term = x->terms[row], share = (T)1 / x->features, norm = x->squares[row], radius = x->radii[row];
    T *kernels = x->memory, *closest = x->closest, *depth = x->depth, sum = 0, square = 0, inside = 0;
    double *columns = x->kernel_columns;
    const long count = x->columns;
#pragma omp simd reduction(+ : sum, square, inside)
    for (long j = 0; j < count; j++) {
        const T base = products[j] * share + terms[j] + term, kernel = base * base * base;
        sum += kernel;
        square += kernel * kernel;
        kernels[j] = kernel;
        T squared = squares[j] - 2 * products[j] + norm;
        squared = squared < 0 ? 0 : squared;
        inside += squared < radii[j] ? (T)1 : (T)0;
        closest[j] = squared < closest[j] ? squared : closest[j];
        depth[j] = squared - radius < depth[j] ? squared - radius : depth[j];
    }
#pragma omp simd
    for (long j = 0; j < count; j++) columns[j] += kernels[j];
    x->kernel_rows[row] = sum;
    x->kernel_squares[0] += square;
    x->inside[row] = inside;
}

/* products: [rows, columns], for the samples from start on. own: whether both sets are the same. */
void program(int own, long start, long rows, const T *products, const Pairs *x) {
    for (long i = 0; i < rows; i++, products += x->columns)
        if (own) read_own(x, start + i, products);
        else read_cross(x, start + i, products);
}
