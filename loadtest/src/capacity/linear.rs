//! Linear least squares for a handful of coefficients.

/// A solution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Solution {
    pub(crate) coefficients: Vec<f64>,
    /// Standard errors; not a number when there are no more rows than coefficients.
    pub(crate) errors: Vec<f64>,
    /// Root mean square of what is left over, with the degrees of freedom taken off.
    pub(crate) residual: f64,
}

/// The coefficients that bring each row's sum closest to the right side. `None` when the rows do
/// not determine them.
pub(crate) fn least_squares(rows: &[Vec<f64>], right: &[f64]) -> Option<Solution> {
    let columns = rows.first()?.len();
    // Columns of very different size would cost digits.
    let scales: Vec<f64> = (0..columns)
        .map(|column| {
            rows.iter()
                .map(|row| row[column].powi(2))
                .sum::<f64>()
                .sqrt()
        })
        .collect();
    if scales
        .iter()
        .any(|scale| *scale <= 0.0 || !scale.is_finite())
    {
        return None;
    }
    let mut normal = vec![vec![0.0; columns]; columns];
    let mut target = vec![0.0; columns];
    for (row, right) in rows.iter().zip(right) {
        for i in 0..columns {
            target[i] += row[i] / scales[i] * right;
            for j in 0..columns {
                normal[i][j] += row[i] / scales[i] * row[j] / scales[j];
            }
        }
    }
    let inverse = invert(normal)?;
    let coefficients: Vec<f64> = (0..columns)
        .map(|i| (0..columns).map(|j| inverse[i][j] * target[j]).sum::<f64>() / scales[i])
        .collect();
    let left = |(row, right): (&Vec<f64>, &f64)| {
        let sum: f64 = row.iter().zip(&coefficients).map(|(a, b)| a * b).sum();
        (right - sum).powi(2)
    };
    let squares: f64 = rows.iter().zip(right).map(left).sum();
    let residual = (squares / (rows.len() as f64 - columns as f64)).sqrt();
    let errors = (0..columns)
        .map(|i| residual * inverse[i][i].max(0.0).sqrt() / scales[i])
        .collect();
    Some(Solution {
        coefficients,
        errors,
        residual,
    })
}

/// By elimination with pivots, beside the unit matrix.
fn invert(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let size = matrix.len();
    let mut inverse: Vec<Vec<f64>> = (0..size)
        .map(|i| (0..size).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    for column in 0..size {
        let pivot = (column..size).max_by(|a, b| {
            matrix[*a][column]
                .abs()
                .total_cmp(&matrix[*b][column].abs())
        })?;
        // The diagonal was scaled to 1: what is left of it says how independent the columns are.
        if matrix[pivot][column].abs() < 1e-11 {
            return None;
        }
        matrix.swap(column, pivot);
        inverse.swap(column, pivot);
        let by = matrix[column][column];
        for value in matrix[column].iter_mut().chain(&mut inverse[column]) {
            *value /= by;
        }
        let (whole, beside) = (matrix[column].clone(), inverse[column].clone());
        for row in (0..size).filter(|row| *row != column) {
            let factor = matrix[row][column];
            let pairs = matrix[row].iter_mut().zip(&whole);
            for (value, above) in pairs.chain(inverse[row].iter_mut().zip(&beside)) {
                *value -= factor * above;
            }
        }
    }
    Some(inverse)
}

/// Student's t, two-sided 95%, for this many degrees of freedom, rounded down to the next one in
/// the usual table.
pub(crate) fn t95(freedom: usize) -> f64 {
    const TABLE: [(usize, f64); 12] = [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (5, 2.571),
        (6, 2.447),
        (8, 2.306),
        (10, 2.228),
        (12, 2.179),
        (15, 2.131),
        (20, 2.086),
        (30, 2.042),
    ];
    let below = TABLE.iter().rev().find(|(entry, _)| *entry <= freedom);
    below.map_or(f64::INFINITY, |(_, t)| *t)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_line_by_hand() {
        // y = 1 + 2x through (0, 1.1), (1, 2.9), (2, 4.9), (3, 7.1): slope 2, intercept 1, squares
        // 0.04 over 2.
        let rows: Vec<Vec<f64>> = (0..4_u8).map(|x| vec![1.0, f64::from(x)]).collect();
        let found = least_squares(&rows, &[1.1, 2.9, 4.9, 7.1]).unwrap();
        assert!((found.coefficients[0] - 1.0).abs() < 1e-12);
        assert!((found.coefficients[1] - 2.0).abs() < 1e-12);
        assert!((found.residual - 0.02_f64.sqrt()).abs() < 1e-12);
        // The slope's variance is s² / Σ(x - mean)² = 0.02 / 5.
        assert!((found.errors[1] - 0.004_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_rows_do_not_determine_is_not_made_up() {
        assert_eq!(
            least_squares(&[vec![1.0, 2.0], vec![2.0, 4.0]], &[1.0, 2.0]),
            None
        );
        assert_eq!(least_squares(&[vec![1.0, 0.0]], &[1.0]), None);
        assert_eq!(least_squares(&[], &[]), None);
    }
}
